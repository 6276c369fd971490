"""The explainer beside real processes: its answers, its limits, and what a death costs."""

import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import pytest
import torch

from app.arrays import Arrays
from app.errors import DeadlinePassed, Invalid, NotFound, PredictionFailed, Unavailable
from app.lanes import Answer, Lane, RequestConsumer
from app.prediction.explanation_request import MAX_EXPLAINED_STEPS, check_steps
from app.tasks.contract import Output
from app.tasks.forecasting.options import ForecastingOptions
from app.tasks.forecasting.task import TASK
from app.typedefs import Json
from tests.support.factories.series import series_set, waves
from tests.support.fakes.predictors import call_lane
from tests.support.fixtures.processes import command_line, descendants, is_fork_server
from tests.support.fixtures.servers import Valkey, until
from workers.artifact.export import save
from workers.explanation.explain import explain
from workers.nn import ModelConfig
from workers.outputs import build
from workers.serving.explainer import Explainer, ExplainerSpec
from workers.serving.spec import PredictorSpec

BODY = {"instances": [{"values": [5.0, 7.0, 9.0, 8.0] * 5, "start": "2024-01-01"}]}
IDLE_SECONDS = 2.0


def forecaster(directory: Path) -> None:
    """A version as a training leaves it, of random weights."""
    arrays: Arrays = series_set(waves(4, 60)).arrays()
    plan = TASK.plan(arrays, ForecastingOptions(horizon=4), 0)
    config = ModelConfig(
        plan.input, plan.output, plan.features, plan.outputs, "lstm", hidden_size=8, **plan.network
    )
    model = build(config, 1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.nn.init.normal_(torch.empty_like(parameter), 0, 0.3))
    assert config.output is Output.QUANTILES
    save(directory, model, {"task": TASK.name, "state": plan.state, "columns": {"ds": "day"}})


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory, redis_server: Valkey) -> ExplainerSpec:
    root = tmp_path_factory.mktemp("explained")
    forecaster(root / "storage/artifacts/a/1")
    return ExplainerSpec(
        redis_url=redis_server.url,
        storage_url=(root / "storage").as_uri(),
        cache_dir=str(root / "cache"),
        worker_id="w:explainer",
        lane="lane:explanations",
        idle_seconds=IDLE_SECONDS,
    )


def below() -> set[int]:
    """Fork servers of this process, and their children."""
    return {pid for pid in descendants(os.getpid()) if "workers.process.fork_server" in command_line(pid)}


def children() -> set[int]:
    """The processes that explain."""
    return {pid for pid in below() if not is_fork_server(pid)}


def ask(
    spec: ExplainerSpec, body: Json = BODY, artifact: str = "artifacts/a/1", seconds: float = 120
) -> Answer:
    async def scenario(lane: Lane) -> Answer:
        return await lane.send_body(artifact, json.dumps(body).encode(), 1, seconds)

    own = PredictorSpec(spec.redis_url, spec.storage_url, spec.cache_dir, "", lane=spec.lane)
    return call_lane(own, scenario)


@contextmanager
def explaining(spec: ExplainerSpec) -> Iterator[Explainer]:
    """An explainer that has announced itself."""
    explainer, consumer = Explainer(spec), RequestConsumer(spec.redis_url, spec.lane, spec.worker_id)
    explainer.start()
    try:
        until(lambda: consumer.read_presence() is not None, what="the explainer's presence")
        yield explainer
    finally:
        explainer.stop()
        assert consumer.read_presence() is None
        consumer.close()


@pytest.fixture(scope="module")
def running(spec: ExplainerSpec) -> Iterator[Explainer]:
    with explaining(spec) as explainer:
        yield explainer
    assert not below()


def test_an_explanation_is_that_of_the_function(spec: ExplainerSpec, running: Explainer) -> None:
    answer = ask(spec)
    directory = Path(spec.storage_url.removeprefix("file://")) / "artifacts/a/1"
    assert json.loads(answer.predictions) == json.loads(explain(directory, json.dumps(BODY).encode()))
    assert answer.compute_seconds > 0
    steps = json.loads(answer.predictions)["steps"]
    assert steps[-1] > steps[0] >= "2024"


def test_rows_of_the_upload_are_explained_as_their_series(spec: ExplainerSpec, running: Explainer) -> None:
    days = [f"2024-01-{day:02d}" for day in range(1, 21)]
    rows = [{"day": day, "y": value} for day, value in zip(days, BODY["instances"][0]["values"], strict=True)]
    assert json.loads(ask(spec, {"instances": rows}).predictions) == json.loads(ask(spec).predictions)
    nothing = [{"day": day, "y": None} for day in days[:2]]
    with pytest.raises(Invalid) as refused:
        ask(spec, {"instances": nothing})
    (fault,) = refused.value.problems
    assert (fault.pointer, "values of the series" in fault.detail) == ("/instances/0", True)


def test_faults_of_a_request_point_into_it(spec: ExplainerSpec, running: Explainer) -> None:
    with pytest.raises(Invalid) as refused:
        ask(spec, {"instances": [{"values": [None, None]}]})
    assert refused.value.problems[0].pointer == "/instances/0/values"
    with pytest.raises(NotFound):
        ask(spec, artifact="artifacts/none/1")


def test_a_process_that_dies_is_replaced(spec: ExplainerSpec, running: Explainer) -> None:
    """Once without the client noticing; the server that forks them is replaced too."""
    with ThreadPoolExecutor(1) as pool:
        for victims in (children, below):
            answer = pool.submit(ask, spec)
            until(children, what="a process that explains", every=0.005)
            for pid in victims():
                os.kill(pid, signal.SIGKILL)
            assert answer.result().predictions


def test_a_request_on_which_processes_die_is_given_up(spec: ExplainerSpec, running: Explainer) -> None:
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(ask, spec)
        while not answer.done():
            for pid in children():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        with pytest.raises(Unavailable, match="twice"):
            answer.result()
    assert ask(spec).predictions


def test_torch_is_given_back_when_nobody_asks(spec: ExplainerSpec, running: Explainer) -> None:
    ask(spec)
    assert below()
    until(lambda: not below(), IDLE_SECONDS + 20, what="the end of the idle process")
    assert ask(spec).predictions


def test_a_deadline_is_kept_and_the_process_ended(spec: ExplainerSpec, running: Explainer) -> None:
    with pytest.raises(DeadlinePassed):
        ask(spec, seconds=0.05)
    assert ask(spec).predictions


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"memory_bytes": 1 << 20}, PredictionFailed),
        ({"max_seconds": 0.01}, DeadlinePassed),
        ({"storage_url": "s3://bucket?endpoint=http://127.0.0.1:9"}, (Unavailable, PredictionFailed)),
    ],
)
def test_each_explanation_is_bounded(
    spec: ExplainerSpec, tmp_path: Path, changes: Json, error: type[Exception]
) -> None:
    """In memory, in time whatever its deadline, and a store that is away keeps nobody waiting."""
    own: Json = {"lane": "limited", "worker_id": "l", "cache_dir": str(tmp_path), **changes}
    limited = msgspec.structs.replace(spec, **own)
    with explaining(limited), pytest.raises(error):
        ask(limited)


def test_without_an_explainer_the_answer_comes_at_once(spec: ExplainerSpec) -> None:
    nobody = msgspec.structs.replace(spec, lane="nobody")
    with pytest.raises(Unavailable, match="No serving worker"):
        ask(nobody)


def test_requests_that_come_together_are_all_answered(spec: ExplainerSpec, running: Explainer) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: ask(spec).predictions, range(4)))
    assert len(set(answers)) == 1


def test_long_inputs_are_refused(spec: ExplainerSpec, running: Explainer) -> None:
    check_steps(MAX_EXPLAINED_STEPS)
    with pytest.raises(Invalid) as refused:
        check_steps(MAX_EXPLAINED_STEPS + 1)
    assert refused.value.problems[0].pointer == "/instances/0"
