"""Finds on validation data whether searching with a language model helps, and what it should count for."""

from collections.abc import Sequence
from itertools import product

from app.tasks.arrays import Array
from app.tasks.speech.beam_search import SearchSettings
from app.tasks.speech.inference import join_parts, transcribe
from app.tasks.speech.metrics import error_rates
from app.typedefs import Json

BEAM_SIZE = 12
WEIGHTS = (0.3, 0.6, 0.9, 1.2)
BONUSES = (0.0, 0.8, 1.6, 2.4)
MAX_CLIPS_TRIED = 200  # of the validation split, evenly taken


def error_sum(state: Json, outputs: Sequence[Array], cuts: list[list[int]], texts: list[str],
              settings: SearchSettings) -> float:  # fmt: skip
    """The sum of the word and the character error rate of a search, in per cent."""
    transcripts = [
        join_parts(state, transcribe(state, clip, starts, settings))
        for clip, starts in zip(outputs, cuts, strict=True)
    ]
    rates = error_rates(texts, transcripts)
    return float(rates["wer"] + rates["cer"])


def choose_search(state: Json, outputs: Sequence[Array], cuts: list[list[int]], texts: list[str]) -> Json:
    """The search with the fewest errors on these clips, as JSON; of equal ones the simplest.

    Where the option says `on`, the best that uses the language model.
    """
    step = 1 + len(texts) // MAX_CLIPS_TRIED
    outputs, cuts, texts = outputs[::step], cuts[::step], texts[::step]
    candidates = [SearchSettings(BEAM_SIZE, *pair) for pair in product(WEIGHTS, BONUSES)]
    if state["language_model"] != "on":
        candidates = [SearchSettings(1), SearchSettings(BEAM_SIZE), *candidates]
    if state["language_model"] == "off":
        candidates = candidates[:2]
    best = min(candidates, key=lambda one: round(error_sum(state, outputs, cuts, texts, one), 3))
    return {"beam_size": best.beam_size, "weight": best.weight, "bonus": best.bonus}
