import numpy as np
import pytest

from app.tasks.classification import text_encoding
from app.tasks.classification.options import ClassificationOptions
from app.tasks.contract import PADDING, UNKNOWN
from app.tasks.shared.ragged import Texts

SAMPLES = ["The film is warm.", "the film, the plot", "A plot of  nothing"]


def fitted(texts: list[str] | None = None, **options: object) -> tuple[text_encoding.TextEncoder, Texts]:
    sample = Texts.of(texts or SAMPLES)
    options = {"min_count": 1} | options
    state = text_encoding.fit_encoder(sample, np.arange(len(sample)), ClassificationOptions(**options))  # type: ignore[arg-type]
    return text_encoding.load_encoder(state), sample


@pytest.mark.parametrize("word_length", [0, 4])
@pytest.mark.parametrize("max_length", [3, 100])
def test_a_text_is_encoded_alike_alone_and_among_others(word_length: int, max_length: int) -> None:
    encoder, texts = fitted(word_length=word_length, max_length=max_length)
    encoded = encoder.encode_all(texts)
    assert encoded.width == 1 + word_length == 1 + encoder.network["word_length"]
    assert encoded.truncated == sum(count > max_length for count in (5, 5, 4))
    inputs, lengths = encoded.gather(np.array([2, 0, 1]))
    assert inputs.dtype == np.int64
    for row, length, text in zip(inputs, lengths, [SAMPLES[2], SAMPLES[0], SAMPLES[1]], strict=True):
        alone = encoder.encode(text)
        np.testing.assert_array_equal(alone, row[:length])
        assert (row[length:] == PADDING).all()
        assert len(alone) <= max_length


def test_characters_are_those_of_the_word_as_it_is_written() -> None:
    encoder, _ = fitted(word_length=4, lower=True)
    upper, lower = encoder.encode("The"), encoder.encode("the")
    assert upper[0, 0] == lower[0, 0] > UNKNOWN
    assert upper[0, 1] != lower[0, 1]
    assert upper[0, 2:].tolist() == lower[0, 2:].tolist()
    assert upper[0, 4] == PADDING


def test_of_a_long_word_both_ends_are_read() -> None:
    encoder, _ = fitted(["abcdef abcdef"] * 3, word_length=4)
    a, b, e, f = (encoder.encode(sign)[0, 1] for sign in "abef")
    assert encoder.encode("abcdef")[0, 1:].tolist() == [a, b, e, f]


def test_what_training_never_had_is_unknown() -> None:
    encoder, _ = fitted(word_length=3)
    assert encoder.encode("☂☂")[0].tolist() == [UNKNOWN, UNKNOWN, PADDING, PADDING]
    assert encoder.encode(" ").tolist() == [[UNKNOWN, PADDING, PADDING, PADDING]]
    assert (
        encoder.network["character_vocabulary"] > encoder.encode("the film").max(initial=0, where=True) - 100
    )


def test_one_text_in_two_normal_forms_is_one() -> None:
    encoder, _ = fitted(["café au lait"] * 2, word_length=5)
    np.testing.assert_array_equal(encoder.encode("cafe\u0301"), encoder.encode("café"))
    assert encoder.encode("cafe\u0301")[0, 0] > UNKNOWN


def test_only_the_rows_for_training_are_learned_from() -> None:
    texts = Texts.of(["film film", "umbrella umbrella"])
    state = text_encoding.fit_encoder(texts, np.array([0]), ClassificationOptions())
    assert text_encoding.load_encoder(state).encode("umbrella")[0, 0] == UNKNOWN
    assert "u" not in state["alphabet"]


def test_a_cache_that_is_full_begins_again(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, _ = fitted(word_length=2)
    before = encoder.encode("the film is warm").tolist()
    monkeypatch.setattr(text_encoding, "MAX_CACHED_ROWS", 2)
    assert encoder.encode("the film is warm").tolist() == before


def test_what_lies_far_behind_the_last_token_is_not_looked_at() -> None:
    assert len(text_encoding.normalize("a" * 10_000, 2)) == 2 * text_encoding.CHARS_PER_TOKEN


CHINESE = ["这部电影很好看", "我不喜欢这部 iPhone 电影。"]


def test_characters_of_scripts_without_spaces_are_words() -> None:
    encoder, _ = fitted(CHINESE, split_unspaced=True)
    assert [one for one, _ in encoder._pairs("不好看iPhone。")] == [
        encoder.encode(sign)[0, 0] for sign in ("不", "好", "看", "iphone", "。")
    ]
    assert (encoder.encode("不好看iPhone。")[:, 0] > UNKNOWN).all()


def test_a_job_from_before_the_option_reads_them_as_before() -> None:
    for options in ({}, {"split_unspaced": False}):
        encoder, _ = fitted(CHINESE, **options)
        assert len(encoder.encode("这部电影很好看")) == 1
        assert encoder.encode("不好看").tolist()[0][0] == UNKNOWN
