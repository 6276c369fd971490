"""Decoding step by step through a real predictor: streams, large batches, cancelled, killed, drained."""

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
from app.infrastructure.processes.managed import is_alive
from app.lanes import Answer, Lane, PartialAnswer
from app.tasks.contract import END
from tests.support.factories.networks import lstm, store
from tests.support.factories.speaking import sequences, speaker, tagger, translator
from tests.support.fakes.lanes import wait_until
from tests.support.fakes.predictors import call_lane, running_predictor
from tests.support.fixtures.servers import Valkey, valkey
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
def store_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("store")
    speaker(root / SPEAKER)
    translator(root / TRANSLATOR)
    tagger(root / TAGGER)
    store(root / "artifacts/plain/1", lstm())
    return root


@pytest.fixture
def spec(server: Valkey, store_dir: Path, tmp_path: Path) -> PredictorSpec:
    return PredictorSpec(
        server.url, store_dir.as_uri(), str(tmp_path / "cache"), "test:0", lane=tmp_path.name
    )


def sampling(seed: int = 0, **fields: Any) -> dict[str, Any]:
    return {"max_tokens": 40, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "seed": seed, **fields}


def endless(seed: int = 0, tokens: int = 4000) -> dict[str, Any]:
    """Settings under which an untrained network never generates the end token."""
    return sampling(seed, max_tokens=tokens, top_k=1)


def decode_alone(
    store_dir: Path, settings: dict[str, Any], artifact: str = SPEAKER, inputs: Any = PROMPT
) -> list[int]:
    decoder = open_onnx(store_dir / artifact, "cpu").decoder
    assert decoder is not None
    (result,) = decode_all(decoder, [inputs], [settings])
    tokens: list[int] = result.tokens.tolist()
    return tokens


async def collect(lane: Lane, settings: dict[str, Any], seconds: float = 20) -> tuple[list[int], Answer]:
    """The tokens of all partial answers, and the answer."""
    streamed: list[int] = []
    async with aclosing(lane.stream(SPEAKER, [PROMPT], seconds, [settings])) as parts:
        async for part in parts:
            if isinstance(part, Answer):
                return streamed, part
            streamed += part.tokens[0]
    raise AssertionError("no answer came")


def test_concurrent_streams_and_answers_equal_those_computed_alone(
    spec: PredictorSpec, store_dir: Path
) -> None:
    settings = [sampling(seed, max_tokens=10 + seed) for seed in range(12)]
    expected = [decode_alone(store_dir, one) for one in settings]

    async def scenario(lane: Lane) -> None:
        answers = await asyncio.gather(*(lane.send(SPEAKER, [PROMPT], 20, [one]) for one in settings))
        assert [answer.outputs[0].tolist() for answer in answers] == expected
        for streamed, answer in await asyncio.gather(*(collect(lane, one) for one in settings)):
            tokens = answer.outputs[0].tolist()
            assert tokens in expected
            assert streamed == tokens[: len(streamed)]

    with running_predictor(spec):
        call_lane(spec, scenario)


def test_instances_of_one_request_are_decoded_together(spec: PredictorSpec, store_dir: Path) -> None:
    settings = [sampling(seed) for seed in range(5)]

    async def scenario(lane: Lane) -> None:
        answer = await lane.send(SPEAKER, [PROMPT] * 5, 20, settings)
        assert [output.tolist() for output in answer.outputs] == [
            decode_alone(store_dir, one) for one in settings
        ]
        assert {note["finish_reason"] for note in answer.notes} <= {"stop", "length"}
        assert answer.compute_seconds > 0

    with running_predictor(spec):
        call_lane(spec, scenario)


def test_every_kind_of_output_is_served(spec: PredictorSpec, store_dir: Path) -> None:
    (source,) = sequences([6], (14,))
    beam = {"beam_size": 3, "max_tokens": 7, "length_penalty": 0.8, "attention": True}
    rows = sequences([5, 1, 9])

    async def scenario(lane: Lane) -> None:
        answer = await lane.send(TRANSLATOR, [source], 20, [beam])
        assert answer.outputs[0].tolist() == decode_alone(store_dir, beam, TRANSLATOR, source)
        assert np.shape(answer.notes[0]["attention"]) == (len(answer.outputs[0]), 6)
        tags = await lane.send(TAGGER, rows, 20)
        engine = open_onnx(store_dir / TAGGER, "cpu")
        for row, path in zip(rows, tags.outputs, strict=True):
            assert path.dtype == np.int64
            assert path.tolist() == engine.run(row[None], np.array([len(row)]))[0].tolist()
        logits = await lane.send(SPEAKER, [PROMPT], 20)
        assert logits.outputs[0].dtype == np.float32
        with pytest.raises(PredictionFailed, match="token by token"):
            await lane.send(TRANSLATOR, [source], 20)
        with pytest.raises(PredictionFailed, match="at once"):
            await lane.send(TAGGER, rows[:1], 20, [beam])

    with running_predictor(spec):
        call_lane(spec, scenario)


def test_ordinary_requests_do_not_wait_for_a_generation(spec: PredictorSpec) -> None:
    async def scenario(lane: Lane) -> None:
        await lane.send("artifacts/plain/1", [ROW], 20)
        await lane.send(SPEAKER, [PROMPT], 20, [sampling(max_tokens=2)])
        calls = [asyncio.create_task(lane.send(SPEAKER, [PROMPT], 60, [endless()])) for _ in range(4)]
        await asyncio.sleep(0.1)
        for _ in range(20):
            await lane.send("artifacts/plain/1", [ROW], 20)
        assert not any(task.done() for task in calls)
        short = await lane.send(SPEAKER, [PROMPT], 20, [sampling(max_tokens=3, top_k=1)])
        assert len(short.outputs[0]) == 3
        assert not any(task.done() for task in calls)
        for task in calls:
            task.cancel()
        await asyncio.gather(*calls, return_exceptions=True)

    with running_predictor(spec):
        call_lane(spec, scenario)


async def wait_until_idle(lane: Lane) -> None:
    """Until the predictor does nothing but wait."""
    begun = time.monotonic()
    while True:
        pid = lane.known_predictors[0].pid
        before = cpu_seconds(pid)
        await asyncio.sleep(0.25)
        if cpu_seconds(pid) - before < 0.05:
            return
        assert time.monotonic() - begun < 20


def cpu_seconds(pid: int) -> float:
    """Seconds of processor time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_requests_of_clients_that_left_are_not_computed_on(spec: PredictorSpec) -> None:
    async def scenario(lane: Lane) -> None:
        async with aclosing(lane.stream(SPEAKER, [PROMPT], 250, [endless(tokens=10**7)])) as parts:
            async for part in parts:
                assert isinstance(part, PartialAnswer)
                assert part.tokens[0]
                break
        call = asyncio.create_task(lane.send(SPEAKER, [PROMPT], 250, [endless(tokens=10**7)]))
        await asyncio.sleep(0.3)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        assert lane.waiting_rows == 0
        await wait_until_idle(lane)

    with running_predictor(spec):
        call_lane(spec, scenario)


def test_a_deadline_ends_a_generation_in_lane_and_predictor(spec: PredictorSpec) -> None:
    async def scenario(lane: Lane) -> None:
        await lane.send(SPEAKER, [PROMPT], 20, [sampling(max_tokens=2)])
        with pytest.raises(DeadlinePassed):
            await collect(lane, endless(tokens=10**7), 0.4)
        with pytest.raises(DeadlinePassed):
            await lane.send(SPEAKER, [PROMPT], 0.4, [endless(tokens=10**7)])
        await wait_until_idle(lane)

    with running_predictor(spec):
        call_lane(spec, scenario)


def test_a_predictor_killed_in_the_middle_of_a_stream_repeats_nothing(
    spec: PredictorSpec, store_dir: Path
) -> None:
    settings = sampling(3, max_tokens=3000, top_k=3)

    async def scenario(lane: Lane) -> None:
        first = process.pid
        assert first is not None
        streamed: list[int] = []
        killed = False
        async with aclosing(lane.stream(SPEAKER, [PROMPT], 60, [settings])) as parts:
            async for part in parts:
                if isinstance(part, Answer):
                    assert part.outputs[0].tolist() == expected
                    assert streamed == expected[: len(streamed)]
                    assert len(streamed) > 1000
                    break
                streamed += part.tokens[0]
                if len(streamed) > 100 and not killed:
                    os.kill(first, signal.SIGKILL)
                    killed = True
        assert killed
        assert process.pid != first

    expected = decode_alone(store_dir, settings)
    assert len(expected) == 3000
    with running_predictor(spec) as process:
        call_lane(spec, scenario)


def test_the_death_of_another_predictor_disturbs_no_stream(spec: PredictorSpec, store_dir: Path) -> None:
    """The lane knows which predictor has a request, so none is sent again when another one dies."""
    settings = sampling(3, max_tokens=2000, top_k=3)
    other = msgspec.structs.replace(spec, worker_id="other:0")

    async def scenario(lane: Lane) -> None:
        calls = [asyncio.create_task(collect(lane, settings)) for _ in range(6)]
        await wait_until(lambda: len(lane.known_predictors) == 2)
        await asyncio.sleep(0.3)
        os.kill(next(one.pid for one in lane.known_predictors if one.worker_id == "other:0"), signal.SIGKILL)
        for streamed, answer in await asyncio.gather(*calls):
            assert answer.outputs[0].tolist() == expected
            assert streamed == expected[: len(streamed)]

    expected = decode_alone(store_dir, settings)
    with running_predictor(spec), running_predictor(other):
        call_lane(spec, scenario)


def test_short_requests_are_finished_before_the_predictor_ends(spec: PredictorSpec) -> None:
    async def scenario(lane: Lane) -> None:
        await lane.send(SPEAKER, [PROMPT], 20, [sampling(max_tokens=2)])
        call = asyncio.create_task(lane.send(SPEAKER, [PROMPT], 20, [endless(tokens=800)]))
        await asyncio.sleep(0.1)
        pid = process.pid
        assert pid is not None
        process.request_stop()
        assert len((await call).outputs[0]) == 800
        await wait_until(lambda: not is_alive(pid))

    with running_predictor(spec) as process:
        call_lane(spec, scenario)


def test_a_long_prompt_is_read_in_chunks(spec: PredictorSpec, store_dir: Path) -> None:
    long = np.concatenate([PROMPT] * 500)
    settings = sampling(1, max_tokens=5)

    async def scenario(lane: Lane) -> None:
        answer = await lane.send(SPEAKER, [long], 20, [settings])
        assert answer.outputs[0].tolist() == decode_alone(store_dir, settings, inputs=long)

    with running_predictor(spec):
        call_lane(spec, scenario)
