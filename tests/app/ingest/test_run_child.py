import bz2
import gzip
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.errors import DatasetInvalid, Invalid, NoSpace, Unavailable
from app.ingest.child import read_upload
from app.ingest.limits import ArchiveLimits, FileLimits
from app.ingest.memory_budget import FIRST_TRIAL_BYTES, MemoryBudget
from app.ingest.run_child import NICENESS, ingest
from app.media.errors import DecoderLost
from app.media.limits import MediaLimits
from app.tasks import TASKS
from app.tasks.forecasting.series import SeriesSet
from app.typedefs import Json
from app.validation.file_kinds import choose_format, compression, detect_format
from tests.app.malformations import TABLES
from tests.app.malformed import DAYS, GOOD_PARQUET, HEAD, MALFORMED, Malformed, item, lines, table
from tests.support.factories.recordings import archive, tone, written
from tests.support.fixtures.real_data import shared

FORECASTING = TASKS["forecasting"]
FORMATS = FORECASTING.formats


def upload(directory: Path, body: bytes) -> tuple[Path, Path]:
    path, out = directory / "content", directory / "arrays"
    path.write_bytes(body)
    out.mkdir()
    return path, out


def read_here(case: Malformed, directory: Path) -> list[dict[str, str]]:
    """What the child process would answer, without starting one."""
    path, out = upload(directory, case.body)
    task = TASKS[case.fields.get("task", "forecasting")]
    kind, head = case.fields.get("format"), case.body[:4096]
    if compression(head) is None:
        try:
            kind = choose_format(task.name, task.formats, case.filename, head, kind)
        except Invalid as error:
            return [problem._asdict() for problem in error.problems]
    columns = json.loads(case.fields.get("columns", "{}"))
    spec = {"path": str(path), "format": kind, "columns": columns, "out": str(out), "archive_limits": {}}
    answer = read_upload(spec, task)
    assert not answer["ok"]
    assert not list(out.iterdir())
    json.dumps(answer, allow_nan=False)
    problems: list[dict[str, str]] = answer["problems"]
    return problems


@pytest.mark.parametrize(
    "case",
    [case for table in TABLES for case in table],
    ids=lambda case: case.name,
)
def test_each_malformed_file_is_refused_with_its_pointer(case: Malformed, tmp_path: Path) -> None:
    problems = read_here(case, tmp_path)
    pairs = [(one["pointer"], one["detail"]) for one in problems]
    assert any(case.pointer in pointer and case.word in detail for pointer, detail in pairs), pairs
    assert len(pairs) <= 20
    assert all(len(detail) < 400 for _, detail in pairs)


@pytest.mark.parametrize(("mark", "name"), [(";", "';'"), ("\t", "tab"), ("|", "'|'")])
def test_a_table_with_another_separator_says_so(mark: str, name: str, tmp_path: Path) -> None:
    path, out = upload(tmp_path, table(*DAYS).replace(b",", mark.encode()))
    spec = {"path": str(path), "format": "csv", "columns": {}, "out": str(out), "archive_limits": {}}
    answer = read_upload(spec, FORECASTING)
    assert answer["summary"]["separator"] == mark
    assert answer["warnings"] == [f"The fields are separated by {name}."]
    (tmp_path / "commas").mkdir()
    path, out = upload(tmp_path / "commas", table(*DAYS))
    assert "separator" not in read_upload(spec | {"path": str(path), "out": str(out)}, FORECASTING)["summary"]


def test_the_table_holds_many_different_kinds() -> None:
    assert len(MALFORMED) >= 40
    assert len({case.name for case in MALFORMED}) == len(MALFORMED)


@pytest.mark.parametrize(
    ("task", "record", "other"),
    [
        ("speech", {"video": "a", "label": "x"}, "video"),
        ("speech", {"midi": "a"}, "music"),
        ("video", {"audio": "a", "text": "x", "split": "train"}, "speech"),
        ("music", {"video": "a"}, "video"),
        ("video", {"audio": "a", "video": "b"}, None),
        ("video", {"split": "train"}, None),
    ],
)
def test_an_archive_of_another_task_is_named(
    tmp_path: Path, task: str, record: dict[str, str], other: str | None
) -> None:
    body = archive({"a": b"", "b": b""}, [record] * 30)
    problems = read_here(Malformed("", "x.zip", body, {"task": task}, "", ""), tmp_path)
    assert (problems[0]["pointer"] == "/file/row/1") == (other is not None)
    assert (f"This is an archive for {other}:" in problems[0]["detail"]) == (other is not None)
    assert len(problems) == 1 or other is None


def test_twenty_faults_are_reported_and_no_more(tmp_path: Path) -> None:
    rows = [f"a,2024-01-{day:02d},x\n".encode() for day in range(1, 31)]
    problems = read_here(Malformed("", "x.csv", table(*rows), {}, "", ""), tmp_path)
    assert [one["pointer"] for one in problems] == [f"/file/row/{row}/column/y" for row in range(2, 22)]


def take(
    directory: Path, body: bytes, format_: str = "csv", **changes: Any
) -> tuple[dict[str, Any], SeriesSet]:
    path, out = upload(directory, body)
    arguments: dict[str, Any] = {"task": "forecasting", "columns": {}, "seconds": 60.0} | changes
    result = ingest(path, format=format_, out=out, **arguments)
    with np.load(out / "arrays.npz", allow_pickle=False) as arrays:
        series = SeriesSet.from_arrays(dict(arrays))
    return result.summary, series


@pytest.mark.server
@pytest.mark.parametrize(
    ("format_", "body"),
    [("csv", table(*DAYS)), ("parquet", GOOD_PARQUET), ("jsonl", lines(item(target=list(range(10)))))],
)
def test_a_good_file_of_each_format_becomes_arrays(format_: str, body: bytes, tmp_path: Path) -> None:
    summary, series = take(tmp_path, body, format_)
    assert (summary["series"], summary["rows"], summary["frequency"]) == (1, 10, "D")
    assert summary["span"] == {"start": "2024-01-01", "end": "2024-01-10"}
    assert len(series.values) == 10


REAL: list[tuple[str, dict[str, str], str, int, int, list[int]]] = [
    ("m3_monthly.train.jsonl", {}, "MS", 1428, 0, [12]),
    ("m3_quarterly.train.jsonl", {}, "QS-JAN", 756, 0, [4]),
    ("m3_yearly.train.jsonl", {}, "YS-JAN", 645, 0, []),
    ("m3_other.train.jsonl", {}, "1", 174, 0, []),
    ("seattle_weather_daily.csv", {"ds": "date", "y": "temp_max"}, "D", 1, 0, [7]),
    ("stock_indices_daily.csv", {"unique_id": "symbol", "ds": "Date", "y": "Close"}, "B", 2, 370, [5]),
    ("pedestrian_hourly.csv", {}, "h", 4, 3011, [24, 168]),
]


@pytest.mark.server
@pytest.mark.parametrize(("name", "columns", "frequency", "count", "gaps", "seasons"), REAL)
def test_real_files_become_series(
    name: str,
    columns: dict[str, str],
    frequency: str,
    count: int,
    gaps: int,
    seasons: list[int],
    tmp_path: Path,
) -> None:
    body = shared(f"forecasting/{name}").read_bytes()
    format_ = detect_format(FORMATS, name, body[:4096])
    summary, series = take(tmp_path, body, format_, columns=columns)
    assert (summary["series"], summary["frequency"], summary["seasons"]) == (count, frequency, seasons)
    assert len(series.values) - summary["rows"] == gaps
    assert int(np.isnan(series.values).sum()) == gaps
    assert series.offsets[-1] == len(series.values) == len(series.splits)
    assert (series.splits.any()) == (summary["split"] is not None)


SAMPLES = Path(__file__).resolve().parents[3] / "app" / "samples"


@pytest.mark.parametrize(
    ("name", "count", "rows", "frequency"),
    [("seattle_weather.csv", 1, 1461, "D"), ("pedestrian_counts.csv", 3, 6048, "h")],
)
def test_the_samples_that_are_shipped_are_without_fault(
    name: str, count: int, rows: int, frequency: str, tmp_path: Path
) -> None:
    body = (SAMPLES / name).read_bytes()
    summary, _ = take(tmp_path, body)
    assert (summary["series"], summary["rows"], summary["frequency"]) == (count, rows, frequency)
    assert summary["missing_share"] == 0
    assert len(body) < 300_000


def test_what_the_weather_file_says_beside_the_series(tmp_path: Path) -> None:
    body = shared("forecasting/seattle_weather_daily.csv").read_bytes()
    summary, series = take(tmp_path, body, columns={"ds": "date", "y": "temp_max"})
    kinds = {"static": [], "numeric": ["precipitation", "temp_min", "wind"], "category": ["weather"]}
    assert summary["covariates"] == kinds
    assert sorted(series.covariate_levels[3]) == ["drizzle", "fog", "rain", "snow", "sun"]
    assert summary["split"] == {"train": 1096, "valid": 0, "test": 365}
    assert (summary["longest"], summary["longest_train"]) == (1461, 1096)
    assert summary["span"] == {"start": "2012-01-01", "end": "2015-12-31"}


def test_a_fault_in_the_child_is_raised_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(DatasetInvalid) as caught:
        take(tmp_path, table(*DAYS, b"a,2024-01-11,x\n"))
    assert caught.value.problems[0].pointer == "/file/row/12/column/y"
    assert not list((tmp_path / "arrays").iterdir())


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Puts a module of the given source where the child process finds it, and gives its name."""

    def write(source: str) -> str:
        (tmp_path / "stand_in.py").write_text(source)
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
        return "stand_in"

    return write


LEAVE = """
import json, sys
from pathlib import Path
(Path(json.load(sys.stdin)["out"]) / "x").touch()
"""


@pytest.mark.server
@pytest.mark.parametrize(
    ("ending", "word"),
    [
        ("raise RuntimeError('secret internals')", "could not be read"),
        ("import os; os.abort()", "could not be read"),
        ("print('no JSON')", "could not be read"),
        ("import signal; signal.pause()", "longer than"),
    ],
)
def test_a_child_that_dies_or_hangs_is_no_error_of_ours(
    ending: str, word: str, child: Callable[[str], str], tmp_path: Path
) -> None:
    with pytest.raises(DatasetInvalid, match=word) as caught:
        take(tmp_path, b"", module=child(LEAVE + ending), seconds=2.0)
    assert "secret" not in str(caught.value.problems)
    assert caught.value.problems[0].pointer == "/file"
    assert not list((tmp_path / "arrays").iterdir())


def test_the_child_learns_no_secrets(
    child: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECURRA_DATABASE_URL", "postgresql://user:secret@host/db")
    reply = "{'ok': True, 'format': 'csv', 'summary': dict(os.environ), 'warnings': []}"
    tell = f"import json, os; print(json.dumps({reply}))"
    path, out = upload(tmp_path, b"")
    result = ingest(path, task="", format="csv", columns={}, out=out, seconds=60, module=child(tell))
    assert "secret" not in str(result.summary)


def test_the_child_lets_the_service_go_first(child: Callable[[str], str], tmp_path: Path) -> None:
    reply = "{'ok': True, 'format': 'csv', 'summary': {'nice': os.nice(0)}, 'warnings': []}"
    tell = f"import json, os, sys; sys.stdin.read(); print(json.dumps({reply}))"
    path, out = upload(tmp_path, b"")
    result = ingest(path, task="", format="csv", columns={}, out=out, seconds=60, module=child(tell))
    assert result.summary["nice"] >= NICENESS


@pytest.mark.server
@pytest.mark.parametrize(
    ("limits", "pointer", "word"),
    [
        (FileLimits(archive=ArchiveLimits(members=3)), "/file", "4 members; at most 3"),
        (
            FileLimits(media=MediaLimits(audio_seconds=0.4)),
            "/file/row/1/column/audio",
            "longer than 0.4 seconds",
        ),
        (FileLimits(media=MediaLimits(file_bytes=1000)), "/file/row/1/column/audio", "more than 1,000 bytes"),
    ],
)
def test_the_limits_on_archives_and_media_reach_the_child(
    limits: FileLimits, pointer: str, word: str, tmp_path: Path
) -> None:
    clips = [{"audio": f"{name}.wav", "text": "ab"} for name in "abc"]
    path, out = upload(tmp_path, archive({line["audio"]: written(tone()) for line in clips}, clips))
    with pytest.raises(DatasetInvalid) as caught:
        ingest(path, task="speech", format="zip", columns={}, out=out, seconds=60, limits=limits)
    assert caught.value.problems[0].pointer == pointer
    assert word in caught.value.problems[0].detail


def test_a_full_disk_is_not_the_files_fault(child: Callable[[str], str], tmp_path: Path) -> None:
    with pytest.raises(NoSpace):
        take(tmp_path, b"", module=child(LEAVE + "print(json.dumps({'ok': False, 'no_space': True}))"))


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress])
def test_a_compressed_recording_alone_is_named_as_what_it_is(
    compress: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    path, out = upload(tmp_path, compress(written(tone())))
    spec: Json = {"path": str(path), "format": None, "columns": {}, "out": str(out), "archive_limits": {}}
    (problem,) = read_upload(spec | {"filename": "a.wav.gz"}, TASKS["speech"])["problems"]
    assert problem["pointer"] == "/file"
    assert "it is a file in WAV format. Files come in an archive" in problem["detail"]
    path.write_bytes(compress(archive({}, [])))
    (problem,) = read_upload(spec | {"filename": "a.zip.gz"}, TASKS["speech"])["problems"]
    assert "compressed itself: unpack it once" in problem["detail"]


def test_a_decoder_that_is_lost_is_not_the_files_fault(
    child: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "again").mkdir()
    clips = [{"audio": f"{name}.wav", "text": "ab"} for name in "abc"]
    path, out = upload(tmp_path, archive({line["audio"]: written(tone()) for line in clips}, clips))
    spec = {"path": str(path), "format": "zip", "columns": {}, "out": str(out), "archive_limits": {}}
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    reply = read_upload(spec, TASKS["speech"])
    monkeypatch.undo()
    assert reply == {"ok": False, "unavailable": str(DecoderLost())}
    with pytest.raises(Unavailable, match="try again"):
        take(tmp_path / "again", b"", module=child(LEAVE + f"print(json.dumps({reply!r}))"))


def test_a_full_disk_is_not_taken_for_a_bad_file(tmp_path: Path) -> None:
    path, _ = upload(tmp_path, table(*DAYS))
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("/dev/full is a device of Linux")
    (tmp_path / "arrays" / "arrays.npz").symlink_to(full)
    spec = {"path": str(path), "format": "csv", "columns": {}, "out": str(tmp_path / "arrays")}
    spec |= {"archive_limits": {}}
    assert read_upload(spec, FORECASTING) == {"ok": False, "no_space": True}


def confined(tmp_path: Path, body: bytes, **limits: int) -> subprocess.CompletedProcess[str]:
    path, out = upload(tmp_path, body)
    limits = {"memory_bytes": 6 << 30, "cpu_seconds": 60, "parent": os.getpid()} | limits
    spec = {
        "path": str(path),
        "task": "forecasting",
        "format": "csv",
        "columns": {},
        "out": str(out),
        "archive_limits": {},
        "media_limits": {},
        **limits,
    }
    return subprocess.run(
        [sys.executable, "-m", "app.ingest.child"],
        input=json.dumps(spec),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"},
    )


@pytest.mark.server
def test_a_file_beyond_the_memory_limit_is_too_large(tmp_path: Path) -> None:
    rows = b"".join(b"s%d,2024-01-01,1\n" % series for series in range(1_500_000))
    done = confined(tmp_path, HEAD + rows, memory_bytes=512 << 20)
    assert "too large" in json.loads(done.stdout)["problems"][0]["detail"]


@pytest.mark.server
def test_the_child_ends_when_its_processor_time_is_spent(tmp_path: Path) -> None:
    rows = b"".join(b"s%d,2024-01-01,1\n" % series for series in range(3_000_000))
    done = confined(tmp_path, HEAD + rows, cpu_seconds=1)
    assert done.returncode in (-signal.SIGXCPU, -signal.SIGKILL)


@pytest.mark.server
def test_the_child_imports_nothing_heavy() -> None:
    code = "import sys, app.ingest.child; print(*[m for m in sys.modules if m in sys.argv[1:]])"
    heavy = ["torch", "fastapi", "sqlalchemy", "celery", "onnxruntime"]
    done = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_the_parent_does_not_import_pyarrow() -> None:
    code = "import sys, app.ingest.run_child; print('pyarrow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]


@pytest.mark.parametrize(
    ("filename", "head", "expected"),
    [
        ("a.csv", b"unique_id,ds,y\n", "csv"),
        ("a.json", b"\xef\xbb\xbf\n  {", "jsonl"),
        ("a.csv", b"PAR1", "parquet"),
        ("a.parquet", b"unique_id", "csv"),
        ("", b"", "csv"),
        ("a.xlsx", b"PK\x03\x04", "zip"),
    ],
)
def test_the_first_bytes_tell_the_format(filename: str, head: bytes, expected: str) -> None:
    assert detect_format(FORMATS, filename, head) == expected


@pytest.mark.parametrize(
    ("filename", "head", "expected"),
    [
        ("play.txt", b"[Enter HAMLET]\n", "txt"),
        ("notes.txt", b"{Exeunt}\n", "txt"),
        ("page.wiki", b"[[Denmark]] is", "txt"),
        ("plays.txt", b'{"text": "To be', "jsonl"),
        ("plays", b'\xef\xbb\xbf\n { "text"', "jsonl"),
        ("plays", b'[\n  {"text"', "jsonl"),
        ("plays", b"{}\n", "jsonl"),
        ("plays.jsonl", b"To be", "jsonl"),
        ("plays.JSON", b'["To be"]', "jsonl"),
        ("", b"", "txt"),
    ],
)
def test_plain_text_may_begin_with_a_bracket(filename: str, head: bytes, expected: str) -> None:
    assert detect_format(("txt", "jsonl"), filename, head) == expected


@pytest.mark.parametrize(
    ("filename", "head", "expected"),
    [
        ("eng.train", b"EU NNP B-NP B-ORG\n", "conll"),
        ("tags.tsv", b"EU\tB-ORG\n", "conll"),
        ("tags.csv", b"sentence,word,tag\n", "conll"),
        ("brackets.txt", b"[ O\nsic O\n] O\n", "conll"),
        ("braces.conll", b"{ O\n", "conll"),
        ("quoted.conll", b'" O\n', "conll"),
        ("tags.txt", b'{"tokens": ["EU"]', "jsonl"),
        ("tags", b'\xef\xbb\xbf{"tokens"', "jsonl"),
        ("tags.jsonl", b"EU\tB-ORG\n", "jsonl"),
        ("", b"", "conll"),
        ("tags.zip", b"PK\x03\x04", "zip"),
    ],
)
def test_columns_may_begin_with_any_sign(filename: str, head: bytes, expected: str) -> None:
    assert detect_format(("jsonl", "conll"), filename, head) == expected


def test_names_decide_between_kinds_of_text() -> None:
    assert detect_format(("tsv", "jsonl"), "pairs.tsv", b"a\tb") == "tsv"
    assert detect_format(("tsv", "jsonl"), "pairs.txt", b"a\tb") == "tsv"
    assert detect_format(("txt", "jsonl"), "play.txt", b"To be") == "txt"
    assert detect_format(("csv", "jsonl"), "play.doc", b"To be") == "csv"
    assert detect_format(("zip",), "clips", b"PK\x03\x04") == "zip"


MEMORY = """
import json, os, sys
spec = json.load(sys.stdin)
with open("{log}", "a") as log:
    print(spec["memory_bytes"], file=log)
if spec["memory_bytes"] < {enough}:
    {failing}
print(json.dumps({{"ok": True, "format": "csv", "summary": {{}}, "warnings": []}}))
"""
REFUSE = (
    """print(json.dumps({"ok": False, "out_of_memory": True, "message": "m", "problems": []})); sys.exit()"""
)


@pytest.mark.server
@pytest.mark.parametrize("failing", ["os.abort()", REFUSE])
def test_a_small_file_that_needs_much_memory_is_read_with_more(
    tmp_path: Path, child: Callable[[str], str], failing: str
) -> None:
    path, out = upload(tmp_path, table(*DAYS))
    log, total = tmp_path / "log", 2 << 30
    fields: dict[str, Any] = {"task": "forecasting", "format": "csv", "columns": {}, "seconds": 60.0}
    limits = FileLimits(memory=MemoryBudget(total))
    for enough in (total, total + 1):
        log.unlink(missing_ok=True)
        module = child(MEMORY.format(log=log, enough=enough, failing=failing))
        if enough > total:
            with pytest.raises(DatasetInvalid):
                ingest(path, out=out, limits=limits, module=module, **fields)
        else:
            ingest(path, out=out, limits=limits, module=module, **fields)
        assert log.read_text().split() == [str(FIRST_TRIAL_BYTES), str(total)]
    with limits.memory.reserve(total, 0.0):
        pass  # all of it was given back
