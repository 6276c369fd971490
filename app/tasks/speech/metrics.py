"""Error rates of transcripts, by jiwer, and the search that has the fewest errors on validation data."""

from collections.abc import Sequence
from dataclasses import asdict
from importlib import import_module  # only a worker that evaluates pays for the library

from app.arrays import Array
from app.tasks.speech.beam_search import SearchSettings
from app.tasks.speech.inference import join_parts, transcribe
from app.typedefs import Json

BEAM_SIZE = 12
WEIGHTS = (0.15, 0.3, 0.5, 0.8, 1.2)
FIRST_BONUS = 0.8  # while weights are compared
BONUSES = (0.0, 0.4, 1.4, 2.2)
MAX_CLIPS_TRIED = 200  # of the validation split, evenly taken


def error_rates(expected: Sequence[str], transcripts: Sequence[str]) -> Json:
    """Word and character error rates in per cent, and the share of transcripts with an error.

    Texts are compared as they stand. Words in answer to an empty text are errors, though it has none itself.
    """
    pairs = list(zip(expected, transcripts, strict=True))
    spoken = [(reference, text) for reference, text in pairs if reference]
    added = [text for reference, text in pairs if not reference]
    words, characters = sum(len(text.split()) for text in added), sum(map(len, added))
    library = import_module("jiwer")
    counts: Json = {"substitutions": 0, "deletions": 0, "insertions": words}
    word_total = character_total = 0
    if spoken:
        references, texts = [reference for reference, _ in spoken], [text for _, text in spoken]
        by_word = library.process_words(references, texts)
        by_character = library.process_characters(references, texts)
        for kind in counts:
            counts[kind] += getattr(by_word, kind)
            characters += getattr(by_character, kind)
        word_total, character_total = sum(len(text.split()) for text in references), sum(map(len, references))
    wrong = sum(reference != text for reference, text in pairs)
    return {
        "wer": round(100 * sum(counts.values()) / max(word_total, 1), 4),
        "cer": round(100 * characters / max(character_total, 1), 4),
        "sentence_error_rate": round(100 * wrong / max(len(pairs), 1), 4),
        **counts,
    }


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

    First the weight of the language model is chosen, then the bonus. Where the option says `on`, it is the
    best search that uses the language model.
    """
    step = 1 + len(texts) // MAX_CLIPS_TRIED
    outputs, cuts, texts = outputs[::step], cuts[::step], texts[::step]
    known: dict[SearchSettings, float] = {}

    def best_of(*candidates: SearchSettings) -> SearchSettings:
        for one in candidates:
            if one not in known:
                known[one] = round(error_sum(state, outputs, cuts, texts, one), 3)
        return min(candidates, key=lambda one: known[one])

    plain = [] if state["language_model"] == "on" else [SearchSettings(1), SearchSettings(BEAM_SIZE)]
    weighted = []
    if state["language_model"] != "off":
        by_weight = best_of(*(SearchSettings(BEAM_SIZE, weight, FIRST_BONUS) for weight in WEIGHTS))
        others = (SearchSettings(BEAM_SIZE, by_weight.weight, bonus) for bonus in BONUSES)
        weighted = [best_of(by_weight, *others)]
    return asdict(best_of(*plain, *weighted))
