import numpy as np
import pytest

from app.tasks.classification import text_encoding
from app.tasks.classification.options import Options
from app.tasks.shared.ragged import Texts
from app.tasks.shared.tokenizers import PADDING, UNKNOWN

SAID = ["The film is warm.", "the film, the plot", "A plot of  nothing"]


def learned(texts: list[str] | None = None, **options: object) -> tuple[text_encoding.Speller, Texts]:
    made = Texts.of(texts or SAID)
    options = {"min_count": 1} | options
    told = text_encoding.learn(made, np.arange(len(made)), Options(**options))  # type: ignore[arg-type]
    return text_encoding.load(told), made


@pytest.mark.parametrize("letters", [0, 4])
@pytest.mark.parametrize("longest", [3, 100])
def test_a_text_is_spelled_alike_alone_and_among_others(letters: int, longest: int) -> None:
    speller, texts = learned(word_length=letters, max_length=longest)
    spelled = speller.table(texts)
    assert spelled.width == 1 + letters == 1 + speller.network["word_length"]
    assert spelled.cuts == sum(count > longest for count in (5, 5, 4))
    inputs, lengths = spelled.gather(np.array([2, 0, 1]))
    assert inputs.dtype == np.int64
    for row, length, said in zip(inputs, lengths, [SAID[2], SAID[0], SAID[1]], strict=True):
        alone = speller.rows(said)
        np.testing.assert_array_equal(alone, row[:length])
        assert (row[length:] == PADDING).all()
        assert len(alone) <= longest


def test_characters_are_those_of_the_word_as_it_is_written() -> None:
    speller, _ = learned(word_length=4, lower=True)
    upper, lower = speller.rows("The"), speller.rows("the")
    assert upper[0, 0] == lower[0, 0] > UNKNOWN
    assert upper[0, 1] != lower[0, 1]
    assert upper[0, 2:].tolist() == lower[0, 2:].tolist()
    assert upper[0, 4] == PADDING


def test_of_a_long_word_both_ends_are_read() -> None:
    speller, _ = learned(["abcdef abcdef"] * 3, word_length=4)
    a, b, e, f = (speller.rows(sign)[0, 1] for sign in "abef")
    assert speller.rows("abcdef")[0, 1:].tolist() == [a, b, e, f]


def test_what_training_never_had_is_unknown() -> None:
    speller, _ = learned(word_length=3)
    assert speller.rows("☂☂")[0].tolist() == [UNKNOWN, UNKNOWN, PADDING, PADDING]
    assert speller.rows(" ").tolist() == [[UNKNOWN, PADDING, PADDING, PADDING]]
    assert speller.network["character_vocabulary"] > speller.rows("the film").max(initial=0, where=True) - 100


def test_one_text_in_two_normal_forms_is_one() -> None:
    speller, _ = learned(["café au lait"] * 2, word_length=5)
    np.testing.assert_array_equal(speller.rows("cafe\u0301"), speller.rows("café"))
    assert speller.rows("cafe\u0301")[0, 0] > UNKNOWN


def test_only_the_rows_to_learn_from_are_learned_from() -> None:
    texts = Texts.of(["film film", "umbrella umbrella"])
    told = text_encoding.learn(texts, np.array([0]), Options())
    assert text_encoding.load(told).rows("umbrella")[0, 0] == UNKNOWN
    assert "u" not in told["alphabet"]


def test_a_cache_that_is_full_begins_again(monkeypatch: pytest.MonkeyPatch) -> None:
    speller, _ = learned(word_length=2)
    before = speller.rows("the film is warm").tolist()
    monkeypatch.setattr(text_encoding, "ROWS", 2)
    assert speller.rows("the film is warm").tolist() == before


def test_what_lies_far_behind_the_last_token_is_not_looked_at() -> None:
    assert len(text_encoding.read("a" * 10_000, 2)) == 2 * text_encoding.A_TOKEN
