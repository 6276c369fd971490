"""One evaluation: part by part of the examples, every version and baseline predicts; then the metrics.

A part's lines are a function of the data set, the versions and the part alone, and the metrics one of all
lines: an evaluation that was interrupted reads the lines that are stored, and goes on.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import msgspec
import orjson

from app.errors import Invalid
from app.infrastructure.stored_arrays import map_arrays, unpack
from app.tasks import TASKS
from app.tasks.contract import Task
from app.tasks.evaluation.contract import (
    EvaluatedTask,
    EvaluationSet,
    EvaluationSettings,
    TrainedVersion,
    TrainingData,
)
from app.typedefs import Json
from workers.batch.predict import BatchProgress, InstanceResult, json_line, repeatable
from workers.evaluation.predictors import BaselinePredictor, Predicts, VersionPredictor
from workers.evaluation.summary import Summary
from workers.inference.engines import Engine

PART_EXAMPLES = 512  # at most; a part is of one window
NOTHING_PREDICTED = "No example could be predicted by every version"


@dataclass(frozen=True)
class EvaluationSpec:
    """The settings of an evaluation, and the parts that earlier attempts have finished."""

    task: str
    options: Json  # of the job: parameters, baselines, windows, step, refit
    parts: int = 0  # finished


@dataclass(frozen=True)
class EvaluatedVersion:
    """A version's number and files, and whether it was trained on the data set that is evaluated."""

    number: int
    directory: Path
    is_known: bool

    @property
    def manifest(self) -> Json:
        """What the artifact says of itself."""
        manifest: Json = orjson.loads((self.directory / "manifest.json").read_bytes())
        return manifest


class OpenEngine(Protocol):
    """What opens the network of a version for a window, anew trained where the evaluation refits."""

    def __call__(
        self, version: EvaluatedVersion, evaluated: EvaluationSet, window: int
    ) -> tuple[Json, Engine]:
        """The state and the engine; raises `Stopped`."""
        ...


@dataclass(frozen=True)
class Directories:
    """Where the data are, those that baselines learn from if they are there, and the results."""

    data: Path
    training: Path | None
    stored: Path  # the parts of earlier attempts
    out: Path


@dataclass(frozen=True)
class Part:
    """Examples that are evaluated together, all of one window."""

    number: int
    window: int
    examples: range


class Evaluation:
    """An evaluation while it runs."""

    def __init__(
        self,
        spec: EvaluationSpec,
        versions: Sequence[EvaluatedVersion],
        directories: Directories,
        open_engine: OpenEngine,
        on: Callable[[Json], None],
        should_stop: Callable[[], bool],
    ) -> None:
        self._task, self._spec, self._versions = TASKS[spec.task], spec, versions
        self._directories, self._open = directories, open_engine
        self._on, self._should_stop = on, should_stop
        self._settings = EvaluationSettings.of(spec.options)
        manifests = [one.manifest for one in versions]
        requested = msgspec.convert(spec.options["parameters"], self._task.parameters)
        evaluation = _evaluated(self._task).evaluation
        states = [manifest["state"] for manifest in manifests]
        self._parameters = repeatable(evaluation.parameters(states, requested))
        trained = [_trained(one, manifest) for one, manifest in zip(versions, manifests, strict=True)]
        self._seed = trained[0].seed
        self._paths = unpack(directories.data / "arrays.npz", directories.data / "mapped")
        arrays = map_arrays(self._paths)
        self._evaluated = evaluation.open(arrays, trained, self._parameters, self._settings)
        names = [str(one.number) for one in versions]
        self._baselines = self._learn()
        self._summary = Summary(self._evaluated, names, list(self._baselines))
        self._opened: tuple[int, dict[str, Predicts]] = -1, {}

    def run(self) -> Json:
        """All metrics. Raises `Stopped`, and `Invalid` if no example could be predicted."""
        parts = list(self._parts())
        systems = len(self._versions) + len(self._baselines)
        total = sum(len(part.examples) for part in parts) * systems
        done = sum(len(part.examples) for part in parts[: self._spec.parts]) * systems
        if not self._spec.parts:
            for message in self._evaluated.warnings:
                self._on({"type": "warning", "message": message})
        for part in parts[: self._spec.parts]:
            self._summary.add(part.examples, self._read(part))
        progress = BatchProgress(self._on, total, done)
        progress.advance(0)
        for part in parts[self._spec.parts :]:
            self._finish(part, self._predict(part, progress.advance))
        if not self._summary.examples:
            raise Invalid(NOTHING_PREDICTED)
        return self._summary.result()

    def _parts(self) -> Iterator[Part]:
        number = 0
        for window, examples in enumerate(self._evaluated.windows):
            for start in range(examples.start, examples.stop, PART_EXAMPLES):
                stop = min(start + PART_EXAMPLES, examples.stop)
                yield Part(number, window, range(start, stop))
                number += 1

    def _learn(self) -> dict[str, Predicts]:
        """The baselines, which learn from the data that the first version was trained on."""
        training = None
        if self._directories.training is not None:
            directory = self._directories.training
            arrays = map_arrays(unpack(directory / "arrays.npz", directory / "mapped"))
            training = TrainingData(arrays, self._seed)
        return {
            name: BaselinePredictor(self._evaluated.baseline(name, training))
            for name in self._settings.baselines
        }

    def _predict(self, part: Part, on: Callable[[int], None]) -> dict[str, list[Json]]:
        """The lines of a part, by version or baseline."""
        if self._opened[0] != part.window and (self._settings.refit or self._opened[0] < 0):
            self._opened = part.window, {}  # the networks of the window before leave the memory
            self._opened = part.window, dict(self._open_versions(part.window))
        lines = {}
        for number, predictor in self._opened[1].items():
            answers = predictor.predict(part.examples, on)
            lines[number] = self._lines(part.examples, answers, {"version": int(number)})
        for name, predictor in self._baselines.items():
            answers = predictor.predict(part.examples, on)
            lines[name] = self._lines(part.examples, answers, {"baseline": name})
        return lines

    def _open_versions(self, window: int) -> Iterator[tuple[str, Predicts]]:
        for version in self._versions:
            state, engine = self._open(version, self._evaluated, window)
            yield (
                str(version.number),
                VersionPredictor(
                    self._task, state, self._parameters, engine, self._evaluated, self._should_stop
                ),
            )

    def _lines(self, examples: range, answers: list[InstanceResult], name: Json) -> list[Json]:
        lines = []
        for example, answer in zip(examples, answers, strict=True):
            line = {**self._evaluated.identity(example), **name, "actual": self._evaluated.actual(example)}
            if answer.prediction is None:
                line["error"] = answer.error
            else:
                line["prediction"] = answer.prediction
                line["errors"] = self._evaluated.errors(example, answer.prediction)
            lines.append(line)
        return lines

    def _finish(self, part: Part, lines: dict[str, list[Json]]) -> None:
        """Write a part, example by example, and report it once its file is whole."""
        path = self._directories.out / f"{part.number:08d}.part"
        encoded = {name: [json_line(line) for line in own] for name, own in lines.items()}
        with path.open("wb") as file:
            for row in range(len(part.examples)):
                file.writelines(own[row] for own in encoded.values())
        before = self._summary.failed
        # As another attempt would read them: the metrics are the same with and without an interruption.
        read = {name: [orjson.loads(line) for line in own] for name, own in encoded.items()}
        self._summary.add(part.examples, read)
        missed = self._summary.failed - before
        done = {"examples": self._summary.examples, "failed": self._summary.failed}
        report = {"part": part.number, "file": path.name, "missed": missed, "metrics": done}
        self._on({"type": "checkpoint", **report})

    def _read(self, part: Part) -> dict[str, list[Json]]:
        """The lines of a part that an earlier attempt has stored."""
        lines: dict[str, list[Json]] = {}
        with (self._directories.stored / f"{part.number:08d}.jsonl").open("rb") as file:
            for row in file:
                line = orjson.loads(row)
                lines.setdefault(str(line.get("version", line.get("baseline"))), []).append(line)
        return lines


def _evaluated(task: Task) -> EvaluatedTask:
    if not isinstance(task, EvaluatedTask):
        raise Invalid(f"{task.name} cannot be evaluated")
    return task


def _trained(version: EvaluatedVersion, manifest: Json) -> TrainedVersion:
    training: Any = manifest.get("training", {})
    seed = training.get("split_seed", training.get("seed", 0))
    return TrainedVersion(manifest["state"], seed, version.is_known)
