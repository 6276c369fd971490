"""Models of speech and video for the benchmark: asked about other files, expected rightly."""

import io
import zipfile
from dataclasses import replace

import orjson
import pytest

from app.media.decoder import MediaDecoder
from benchmarks.serving.generator.messages import Report
from benchmarks.serving.generator.verification import right
from benchmarks.serving.measure import Result
from benchmarks.serving.media import targets
from benchmarks.serving.requests.recordings import KINDS, describe, make, seconds_of
from benchmarks.serving.requests.versions import Made, Row
from tests.benchmarks.peers import ask_peer
from tests.support.factories.clips import encode, moving_square, sides
from tests.support.factories.recordings import archive, songs, tone, written

MARKS = ("train", "train", "valid", "test")


def split(packed: bytes) -> bytes:
    """The archive with a split for each line."""
    with zipfile.ZipFile(io.BytesIO(packed)) as file:
        members = {name: file.read(name) for name in file.namelist()}
    lines = [orjson.loads(line) for line in members.pop("manifest.jsonl").splitlines()]
    return archive(members, [line | {"split": MARKS[number % 4]} for number, line in enumerate(lines)])


@pytest.fixture(scope="module", params=["speech", "video"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    directory = tmp_path_factory.mktemp(request.param)
    data = directory / "data.zip"
    data.write_bytes(split(songs(24) if request.param == "speech" else sides(24)))
    every = replace(KINDS[request.param], shortest=0.0, longest=60.0)
    return make(Row("small", request.param, "small", 8, 1), data, directory / "made", every)


def test_requests_differ_and_were_not_learned_from(made: Made) -> None:
    assert len(set(made.corpus.bodies)) == len(made.corpus.bodies) > 5
    line = describe(made, KINDS[made.row.task])
    assert line.startswith(
        f"small (small, {made.parameters:,} parameters): {len(made.corpus.steps)} files of"
    )


def test_the_peer_answers_rightly(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MediaDecoder, "decode", MediaDecoder.decode)  # which the peer replaces
    replies = ask_peer("media_app", made, monkeypatch)
    for reply, expected in zip(replies, made.corpus.outputs, strict=True):
        assert reply.status_code == 200
        assert right(reply.content, expected)


def test_files_are_as_long_as_they_are() -> None:
    assert seconds_of("speech", written(tone(1.5), container="FLAC")) == pytest.approx(1.5, abs=0.01)
    clip = encode(moving_square(right=True, count=24), rate=12)
    assert seconds_of("video", clip) == pytest.approx(2, abs=0.1)


def test_a_second_of_speech_is_held_against_the_time_it_takes(made: Made) -> None:
    def result(rate: float) -> Result:
        report = Report(int(rate), 0, 0, rate, rate, 1.0, 2.0, 0.1)
        return Result({1: report, 16: report}, cpu={1: 50.0, 16: 40.0})

    name = made.row.name
    rounds = [{f"{name} recurra": result(30), f"{name} fastapi": result(20)}]
    found = {one.what: one for one in targets(rounds, [made], [1, 16])}
    assert found["small: requests/s at 16 clients / FastAPI"].ratios == [1.5]
    assert found["small: requests/s at 1 client / FastAPI"].reached() == "yes"
    factor = found.get("speech: real-time factor")
    assert (factor is not None) == (made.row.task == "speech")
    if factor is not None:
        seconds = sum(made.corpus.steps) / len(made.corpus.steps) / 100
        assert factor.median == pytest.approx(0.04 / seconds)
