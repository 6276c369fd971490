"""Decoding step by step through a real predictor: streams, crowds, cancelled, killed, drained."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from app.errors import DeadlinePassed, PredictionFailed
from app.infrastructure.processes import alive
from app.lanes import Answer, Lane, Part
from app.tasks.contract import END
from tests.lanes import eventually
from tests.networks import lstm, store
from tests.predictors import running, through
from tests.servers import Valkey, valkey
from tests.speaking import sequences, speaker, tagger, translator
from workers.decoding.scheduler import decode_all
from workers.inference.engines import open_onnx
from workers.serving.spec import PredictorSpec

SPEAKER, TRANSLATOR, TAGGER = "artifacts/speaker/1", "artifacts/translator/1", "artifacts/tagger/1"
PROMPT = np.array([[END], [5], [6], [7]])
ROW = np.ones((4, 3), np.float32)


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    with valkey() as made:
        yield made


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("store")
    speaker(root / SPEAKER)
    translator(root / TRANSLATOR)
    tagger(root / TAGGER)
    store(root / "artifacts/plain/1", lstm())
    return root


@pytest.fixture
def spec(server: Valkey, shelf: Path, tmp_path: Path) -> PredictorSpec:
    return PredictorSpec(server.url, shelf.as_uri(), str(tmp_path / "cache"), "test:0", lane=tmp_path.name)


def wish(seed: int = 0, **fields: Any) -> dict[str, Any]:
    return {"max_tokens": 40, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "seed": seed, **fields}


def endless(seed: int = 0, tokens: int = 4000) -> dict[str, Any]:
    """A search that never meets the end: an untrained network gives it as often as any token."""
    return wish(seed, max_tokens=tokens, top_k=1)


def alone(shelf: Path, search: dict[str, Any], artifact: str = SPEAKER, inputs: Any = PROMPT) -> list[int]:
    decoder = open_onnx(shelf / artifact, "cpu").decoder
    assert decoder is not None
    (found,) = decode_all(decoder, [inputs], [search])
    tokens: list[int] = found.tokens.tolist()
    return tokens


async def collected(lane: Lane, search: dict[str, Any], seconds: float = 20) -> tuple[list[int], Answer]:
    """The tokens of all parts, and the answer."""
    told: list[int] = []
    async with aclosing(lane.stream(SPEAKER, [PROMPT], seconds, [search])) as parts:
        async for part in parts:
            if isinstance(part, Answer):
                return told, part
            told += part.tokens[0]
    raise AssertionError("no answer came")


def test_streams_and_answers_side_by_side_say_what_each_says_alone(spec: PredictorSpec, shelf: Path) -> None:
    searches = [wish(seed, max_tokens=10 + seed) for seed in range(12)]
    expected = [alone(shelf, search) for search in searches]

    async def scenario(lane: Lane) -> None:
        answers = await asyncio.gather(*(lane.send(SPEAKER, [PROMPT], 20, [one]) for one in searches))
        assert [answer.outputs[0].tolist() for answer in answers] == expected
        for told, answer in await asyncio.gather(*(collected(lane, one) for one in searches)):
            tokens = answer.outputs[0].tolist()
            assert tokens in expected
            assert told == tokens[: len(told)]

    with running(spec):
        through(spec, scenario)


def test_instances_of_one_request_are_found_together(spec: PredictorSpec, shelf: Path) -> None:
    searches = [wish(seed) for seed in range(5)]

    async def scenario(lane: Lane) -> None:
        answer = await lane.send(SPEAKER, [PROMPT] * 5, 20, searches)
        assert [output.tolist() for output in answer.outputs] == [alone(shelf, one) for one in searches]
        assert {note["finish_reason"] for note in answer.notes} <= {"stop", "length"}
        assert answer.compute_seconds > 0

    with running(spec):
        through(spec, scenario)


def test_every_kind_of_output_has_its_answer(spec: PredictorSpec, shelf: Path) -> None:
    (source,) = sequences([6], (14,))
    beam = {"beam_size": 3, "max_tokens": 7, "length_penalty": 0.8, "attention": True}
    rows = sequences([5, 1, 9])

    async def scenario(lane: Lane) -> None:
        found = await lane.send(TRANSLATOR, [source], 20, [beam])
        assert found.outputs[0].tolist() == alone(shelf, beam, TRANSLATOR, source)
        assert np.shape(found.notes[0]["attention"]) == (len(found.outputs[0]), 6)
        tags = await lane.send(TAGGER, rows, 20)
        engine = open_onnx(shelf / TAGGER, "cpu")
        for row, path in zip(rows, tags.outputs, strict=True):
            assert path.dtype == np.int64
            assert path.tolist() == engine.run(row[None], np.array([len(row)]))[0].tolist()
        logits = await lane.send(SPEAKER, [PROMPT], 20)
        assert logits.outputs[0].dtype == np.float32
        with pytest.raises(PredictionFailed, match="step by step"):
            await lane.send(TRANSLATOR, [source], 20)
        with pytest.raises(PredictionFailed, match="at once"):
            await lane.send(TAGGER, rows[:1], 20, [beam])

    with running(spec):
        through(spec, scenario)


def test_ordinary_requests_do_not_wait_for_a_generation(spec: PredictorSpec) -> None:
    async def scenario(lane: Lane) -> None:
        await lane.send("artifacts/plain/1", [ROW], 20)
        await lane.send(SPEAKER, [PROMPT], 20, [wish(max_tokens=2)])
        running_ = [asyncio.create_task(lane.send(SPEAKER, [PROMPT], 60, [endless()])) for _ in range(4)]
        await asyncio.sleep(0.1)
        for _ in range(20):
            begun = time.monotonic()
            await lane.send("artifacts/plain/1", [ROW], 20)
            assert time.monotonic() - begun < 0.5
        assert not any(task.done() for task in running_)
        short = await lane.send(SPEAKER, [PROMPT], 20, [wish(max_tokens=3, top_k=1)])
        assert len(short.outputs[0]) == 3
        assert not any(task.done() for task in running_)
        for task in running_:
            task.cancel()
        await asyncio.gather(*running_, return_exceptions=True)

    with running(spec):
        through(spec, scenario)


async def idle(lane: Lane) -> None:
    """Until the predictor does nothing but wait."""
    began = time.monotonic()
    while True:
        pid = lane.present[0].pid
        before = spent(pid)
        await asyncio.sleep(0.25)
        if spent(pid) - before < 0.05:
            return
        assert time.monotonic() - began < 20


def spent(pid: int) -> float:
    """Seconds of processor time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_what_a_client_left_is_not_computed_on(spec: PredictorSpec) -> None:
    async def scenario(lane: Lane) -> None:
        async with aclosing(lane.stream(SPEAKER, [PROMPT], 250, [endless(tokens=10**7)])) as parts:
            async for part in parts:
                assert isinstance(part, Part)
                assert part.tokens[0]
                break
        call = asyncio.create_task(lane.send(SPEAKER, [PROMPT], 250, [endless(tokens=10**7)]))
        await asyncio.sleep(0.3)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        assert lane.waiting == 0
        await idle(lane)

    with running(spec):
        through(spec, scenario)


def test_a_deadline_ends_a_generation_here_and_there(spec: PredictorSpec) -> None:
    async def scenario(lane: Lane) -> None:
        await lane.send(SPEAKER, [PROMPT], 20, [wish(max_tokens=2)])
        with pytest.raises(DeadlinePassed):
            await collected(lane, endless(tokens=10**7), 0.4)
        with pytest.raises(DeadlinePassed):
            await lane.send(SPEAKER, [PROMPT], 0.4, [endless(tokens=10**7)])
        await idle(lane)

    with running(spec):
        through(spec, scenario)


def test_a_predictor_killed_in_the_middle_of_a_stream_repeats_nothing(
    spec: PredictorSpec, shelf: Path
) -> None:
    search = wish(3, max_tokens=3000, top_k=3)

    async def scenario(lane: Lane) -> None:
        first = process.pid
        assert first is not None
        told: list[int] = []
        killed = False
        async with aclosing(lane.stream(SPEAKER, [PROMPT], 60, [search])) as parts:
            async for part in parts:
                if isinstance(part, Answer):
                    assert part.outputs[0].tolist() == expected
                    assert told == expected[: len(told)]
                    assert len(told) > 1000
                    break
                told += part.tokens[0]
                if len(told) > 100 and not killed:
                    os.kill(first, signal.SIGKILL)
                    killed = True
        assert killed
        assert process.pid != first

    expected = alone(shelf, search)
    assert len(expected) == 3000
    with running(spec) as process:
        through(spec, scenario)


def test_another_predictors_death_disturbs_no_stream(spec: PredictorSpec, shelf: Path) -> None:
    """Who works at what is known, so that nothing is computed twice when some other worker is replaced."""
    search = wish(3, max_tokens=2000, top_k=3)
    other = msgspec.structs.replace(spec, worker_id="other:0")

    async def scenario(lane: Lane) -> None:
        calls = [asyncio.create_task(collected(lane, search)) for _ in range(6)]
        await eventually(lambda: len(lane.present) == 2)
        await asyncio.sleep(0.3)
        os.kill(next(one.pid for one in lane.present if one.worker_id == "other:0"), signal.SIGKILL)
        for told, answer in await asyncio.gather(*calls):
            assert answer.outputs[0].tolist() == expected
            assert told == expected[: len(told)]

    expected = alone(shelf, search)
    with running(spec), running(other):
        through(spec, scenario)


def test_what_is_soon_done_is_finished_before_it_ends(spec: PredictorSpec) -> None:
    async def scenario(lane: Lane) -> None:
        await lane.send(SPEAKER, [PROMPT], 20, [wish(max_tokens=2)])
        call = asyncio.create_task(lane.send(SPEAKER, [PROMPT], 20, [endless(tokens=800)]))
        await asyncio.sleep(0.1)
        pid = process.pid
        assert pid is not None
        process.ask()
        assert len((await call).outputs[0]) == 800
        await eventually(lambda: not alive(pid))

    with running(spec) as process:
        through(spec, scenario)


def test_a_prompt_is_read_from_where_it_was_left(spec: PredictorSpec, shelf: Path) -> None:
    long = np.concatenate([PROMPT] * 500)
    search = wish(1, max_tokens=5)

    async def scenario(lane: Lane) -> None:
        answer = await lane.send(SPEAKER, [long], 20, [search])
        assert answer.outputs[0].tolist() == alone(shelf, search, inputs=long)

    with running(spec):
        through(spec, scenario)
