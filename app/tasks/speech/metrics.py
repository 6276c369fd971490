"""Error rates of transcripts, by jiwer."""

from collections.abc import Sequence
from importlib import import_module  # only a worker that evaluates pays for the library

from app.typedefs import Json


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
