"""Archives of recordings, read as an upload is."""

from collections.abc import Callable
from pathlib import Path

import pytest

from app.errors import DatasetInvalid
from app.ingest.readers import Mapping, open_source
from app.tasks import TASKS
from app.tasks.contract import Plan
from app.tasks.source import Faults, Reading
from app.tasks.speech.options import SpeechOptions
from tests.support.factories.recordings import songs

ReadArchive = Callable[[bytes], Reading]


@pytest.fixture
def read_archive(tmp_path: Path) -> ReadArchive:
    def read(content: bytes) -> Reading:
        path, faults = tmp_path / "content", Faults()
        path.write_bytes(content)
        reading = TASKS["speech"].read(open_source(path, "zip", Mapping({}), faults), faults)
        faults.check()
        return reading

    return read


@pytest.fixture
def problems_of(read_archive: ReadArchive) -> Callable[[bytes], dict[str, str]]:
    """The faults of an archive, by pointer."""

    def problems(content: bytes) -> dict[str, str]:
        with pytest.raises(DatasetInvalid) as refused:
            read_archive(content)
        return {problem.pointer: problem.detail for problem in refused.value.problems}

    return problems


@pytest.fixture(scope="module")
def small_plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """The plan of a small archive of songs."""
    path, faults = tmp_path_factory.mktemp("songs") / "content", Faults()
    path.write_bytes(songs(24))
    task = TASKS["speech"]
    reading = task.read(open_source(path, "zip", Mapping({}), faults), faults)
    return task.plan(reading.arrays, SpeechOptions(), 0)
