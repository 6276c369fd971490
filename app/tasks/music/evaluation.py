"""Evaluation of a language model of music: how probable it finds the events of pieces."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from app.arrays import Array, Arrays
from app.errors import Problem
from app.tasks.contract import UNKNOWN, Instances
from app.tasks.evaluation.contract import (
    EvaluationSettings,
    Predict,
    ScoredWindow,
    TrainedVersion,
    TrainingData,
)
from app.tasks.evaluation.examples import ExampleEvaluation
from app.tasks.evaluation.picked import PickedRows, needed, without_windows
from app.tasks.evaluation.resampling import ratio
from app.tasks.evaluation.rows import evaluated_rows, learned_rows
from app.tasks.evaluation.sums import SumTally
from app.tasks.music.baseline import learn_ngrams
from app.tasks.music.codings.pieces import MELODIC_KEYS, TRANSPOSITIONS, Coding, Piece
from app.tasks.music.codings.selection import coding_from_json
from app.tasks.music.encoding import joined, scored_windows
from app.tasks.music.inference import MusicParameters
from app.tasks.music.reading import StoredPieces
from app.tasks.shared.ngrams import NGRAM
from app.tasks.shared.splits import SPLIT
from app.typedefs import Json

UNKNOWN_NATS = math.log(MELODIC_KEYS)  # of an event that the coding lacks: of naming one of its pitches
NO_PARAMETERS = "what is there is scored, nothing is composed: leave them out"


def _check(
    summary: Json,
    states: Sequence[Json],
    parameters: MusicParameters,
    settings: EvaluationSettings,
) -> list[Problem]:
    """Refuse parameters of composition."""
    del summary, states, settings
    return [] if parameters == MusicParameters() else [Problem("/parameters", NO_PARAMETERS)]


class MusicSet:
    """Pieces of music, see `EvaluationSet` and `LikelihoodSet`."""

    higher_is_better: Mapping[str, bool] = {"nats_per_step": False, "nats_per_event": False}
    unit = "example"
    training_arrays = staticmethod(without_windows)

    def __init__(self, arrays: Arrays, versions: Sequence[TrainedVersion]) -> None:
        self._pieces = StoredPieces(arrays)
        self._picked = PickedRows(evaluated_rows(arrays[SPLIT], versions))
        self.windows, self.units = self._picked.windows, self._picked.units
        self.identity = self._picked.identity
        self._coding = versions[0].state["coding"]
        self.warnings: list[str] = []

    def piece(self, example: int) -> Piece:
        """A piece by its number."""
        piece: Piece = self._pieces[int(self._picked.rows[example])]
        return piece

    def instances(self, state: Json) -> Instances:
        """Nothing is composed; raises `ValueError`."""
        del state
        raise ValueError("pieces are scored, not composed")

    def scored(self, state: Json, example: int) -> list[ScoredWindow]:
        """The windows of a piece, each behind the events before it."""
        coding = coding_from_json(state["coding"])
        windows = scored_windows(joined([coding.encode(self.piece(example))]))
        return [ScoredWindow(tokens, context) for tokens, context in windows]

    def likelihood(self, state: Json, example: int, nats: Sequence[Array]) -> Json:
        """Nats of all events and of the end; those that the coding lacks cost naming a pitch in addition."""
        coding = coding_from_json(state["coding"])
        return _likelihood(coding, self.piece(example), np.concatenate(nats))

    def actual(self, example: int) -> Json:
        """The piece: its notes, counted."""
        return {"notes": len(self.piece(example).notes)}

    def baseline(self, name: str, training: TrainingData | None) -> Predict:
        """A 5-gram model of the training events, in the coding of the first version."""
        training = needed(training, name)
        coding, pieces = coding_from_json(self._coding), StoredPieces(training.arrays)
        rows = learned_rows(training.arrays[SPLIT], training.seed)
        stream = joined([coding.encode(pieces[int(row)]) for row in rows])
        nats_of = learn_ngrams(coding, stream, list(TRANSPOSITIONS))

        def predict(examples: Sequence[int]) -> list[Json]:
            chosen = [self.piece(example) for example in examples]
            events = [coding.encode(piece) for piece in chosen]
            nats = nats_of(events)
            ends = np.cumsum([len(one) + 1 for one in events])[:-1]
            return [
                _likelihood(coding, piece, part)
                for piece, part in zip(chosen, np.split(nats, ends), strict=True)
            ]

        return predict

    def errors(self, example: int, prediction: Json) -> Json:
        """Nats per time step of the piece."""
        del example
        nats = prediction["nats"] + prediction["unknown_nats"]
        return {"nats_per_step": nats / max(prediction["steps"], 1)}

    def tally(self, resamples: int) -> SumTally:
        """See `EvaluationSet`."""
        return SumTally(resamples, 3, _figures, _metrics)


def _likelihood(coding: Coding, piece: Piece, nats: Array) -> Json:
    """The prediction of a line from the nats of each event and of the end (events + 1,)."""
    unknown = int((coding.encode(piece) == UNKNOWN).sum())
    return {
        "nats": float(nats.sum()),
        "events": len(nats),
        "steps": coding.count_steps(piece),
        "unknown_nats": unknown * UNKNOWN_NATS,
    }


def _figures(line: Json) -> list[float]:
    prediction = line["prediction"]
    return [prediction["nats"] + prediction["unknown_nats"], prediction["steps"], prediction["events"]]


def _metrics(sums: Array) -> dict[str, Array]:
    """The metrics of sums (resamples, figures)."""
    nats, steps, events = sums.T
    return {"nats_per_step": ratio(nats, steps), "nats_per_event": ratio(nats, events)}


EVALUATION = ExampleEvaluation((NGRAM,), _check, MusicSet)
