"""Evaluation of transcripts by their word and character errors, each recording weighted by its length."""

from collections.abc import Mapping, Sequence
from importlib import import_module  # only a worker that evaluates pays for the library

from app.arrays import Array, Arrays
from app.errors import Problem
from app.tasks.contract import Instances
from app.tasks.evaluation.contract import EvaluationSettings, Predict, TrainedVersion, TrainingData
from app.tasks.evaluation.examples import ExampleEvaluation
from app.tasks.evaluation.picked import PickedInstances, PickedRows, lacks, needed, without_windows
from app.tasks.evaluation.resampling import ratio
from app.tasks.evaluation.rows import evaluated_rows, learned_rows
from app.tasks.evaluation.sums import SumTally
from app.tasks.shared.ragged import Ragged, Texts
from app.tasks.shared.splits import SPLIT
from app.tasks.shared.text_checks import TEXT
from app.tasks.speech.baseline import constant_transcript
from app.tasks.speech.inference import SpeechInstances
from app.tasks.speech.options import SpeechParameters
from app.tasks.speech.reading import AUDIO, RATE
from app.typedefs import Json

CONSTANT = "constant"
FIGURES = ("word_errors", "words", "character_errors", "characters", "wrong")


def _check(
    summary: Json,
    states: Sequence[Json],
    parameters: SpeechParameters,
    settings: EvaluationSettings,
) -> list[Problem]:
    """Refuse recordings without texts."""
    del states, parameters, settings
    return [] if summary["transcripts"] else lacks("its recordings have no texts")


class SpeechSet:
    """Recordings with transcripts, see `EvaluationSet`."""

    higher_is_better: Mapping[str, bool] = {"wer": False, "cer": False, "sentence_error_rate": False}
    unit = "example"
    training_arrays = staticmethod(without_windows)

    def __init__(self, arrays: Arrays, versions: Sequence[TrainedVersion]) -> None:
        self._arrays, self._texts = arrays, Texts.from_arrays(arrays, TEXT)
        self._picked = PickedRows(evaluated_rows(arrays[SPLIT], versions))
        self.windows, self.units = self._picked.windows, self._picked.units
        self.identity = self._picked.identity
        self.warnings: list[str] = []

    def instances(self, state: Json) -> Instances:
        """See `EvaluationSet`."""
        del state
        clips = SpeechInstances(Ragged.from_arrays(self._arrays, AUDIO), int(self._arrays[RATE][0]))
        return PickedInstances(clips, self._picked.rows)

    def actual(self, example: int) -> str:
        """The transcript."""
        return self._texts[int(self._picked.rows[example])]

    def baseline(self, name: str, training: TrainingData | None) -> Predict:
        """The training transcript that makes the fewest errors as the answer to all of them."""
        training = needed(training, name)
        rows = learned_rows(training.arrays[SPLIT], training.seed)
        text = constant_transcript(Texts.from_arrays(training.arrays, TEXT).pick(rows))
        return lambda examples: [{"text": text} for _ in examples]

    def errors(self, example: int, prediction: Json) -> Json:
        """See `error_counts`."""
        return error_counts(self.actual(example), prediction["text"])

    def tally(self, resamples: int) -> SumTally:
        """See `EvaluationSet`."""
        return SumTally(resamples, 1 + len(FIGURES), _figures, _metrics)


def error_counts(expected: str, text: str) -> Json:
    """Edits from one text to another, by word and by character, and how long the expected one is.

    Words in answer to an empty text are errors.
    """
    if expected:
        library = import_module("jiwer")
        words, characters = (
            one.substitutions + one.deletions + one.insertions
            for one in (library.process_words(expected, text), library.process_characters(expected, text))
        )
    else:
        words, characters = len(text.split()), len(text)
    counts = (words, len(expected.split()), characters, len(expected), int(expected != text))
    return dict(zip(FIGURES, counts, strict=True))


def _figures(line: Json) -> list[float]:
    return [1.0, *(line["errors"][name] for name in FIGURES)]


def _metrics(sums: Array) -> dict[str, Array]:
    """Error rates in per cent of sums (resamples, figures)."""
    count, word_errors, words, character_errors, characters, wrong = sums.T
    return {
        "wer": 100 * ratio(word_errors, words),
        "cer": 100 * ratio(character_errors, characters),
        "sentence_error_rate": 100 * ratio(wrong, count),
    }


EVALUATION = ExampleEvaluation((CONSTANT,), _check, SpeechSet)
