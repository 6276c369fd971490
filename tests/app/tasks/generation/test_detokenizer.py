"""Text that is shown while it is generated: it is never taken back, and shows nothing of a stop string."""

from collections.abc import Sequence
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.tasks.contract import BEGIN, END, PADDING, UNKNOWN
from app.tasks.generation.detokenizer import TextDetokenizer, open_detokenizer
from app.tasks.shared import tokenizers
from app.tasks.shared.tokenizers import TokenUnit

SAMPLE = "ab ba abba — naïve 日本語 🙂🙃 a\u0301 the the end\n\nab ab"
FEW = st.text(st.sampled_from("ab é🙂"), max_size=14)
STOPS = st.lists(st.text(st.sampled_from("ab é🙂"), min_size=1, max_size=4), max_size=4)
TOKENS = st.lists(st.integers(0, 258), max_size=30)  # of a vocabulary of bytes


@cache
def tokenizer(unit: TokenUnit) -> str:
    return tokenizers.train_tokenizer([SAMPLE] * 3, unit, 270, spaced=True)


def shown(detokenizer: TextDetokenizer, tokens: Sequence[int], cuts: Sequence[int]) -> list[str]:
    """The deltas when tokens come in groups."""
    edges = [0, *sorted(cut % (len(tokens) + 1) for cut in cuts), len(tokens)]
    return [detokenizer.push(tokens[a:b]) for a, b in pairwise(edges)] + [detokenizer.close()]


def cut(whole: str, stops: Sequence[str]) -> str:
    """What is before the stop string that is complete first, searched letter by letter."""
    for end in range(1, len(whole) + 1):
        begins = [end - len(stop) for stop in stops if whole[:end].endswith(stop)]
        if begins:
            return whole[: min(begins)]
    return whole


@given(FEW, STOPS, st.lists(st.integers(0, 40), max_size=6), st.sampled_from(list(TokenUnit)))
def test_deltas_make_the_text_before_the_first_stop_string(
    whole: str, stops: list[str], cuts: list[int], unit: TokenUnit
) -> None:
    ids = tokenizers.encode(tokenizer(unit), whole).ids
    pieces = tokenizers.token_bytes(tokenizer(unit))
    text = b"".join(pieces[number] for number in ids).decode()  # without what the vocabulary lacks
    detokenizer = TextDetokenizer(pieces, stops)
    deltas = shown(detokenizer, ids, cuts)
    expected = cut(text, stops)
    assert "".join(deltas) == expected
    assert detokenizer.ended == (expected != text)
    assert detokenizer.finish_reason == ("stop" if detokenizer.ended else "length")
    for stop in stops:
        assert stop not in "".join(deltas)


@given(TOKENS, STOPS)
def test_text_that_was_shown_is_never_retracted(tokens: list[int], stops: list[str]) -> None:
    pieces = tokenizers.token_bytes(tokenizer(TokenUnit.BPE))
    one_by_one, at_once = TextDetokenizer(pieces, stops), TextDetokenizer(pieces, stops)
    final = at_once.push(tokens) + at_once.close()
    so_far = ""
    for count in range(len(tokens) + 1):
        so_far += one_by_one.update(tokens[:count])
        assert final.startswith(so_far)
        assert not any(stop in so_far for stop in stops)
        if not one_by_one.ended:  # what may begin a stop string is not shown yet
            assert not any(so_far.endswith(stop) for stop in stops)
    assert so_far + one_by_one.close() == final
    assert (one_by_one.tokens, one_by_one.ended) == (at_once.tokens, at_once.ended)


@given(TOKENS, STOPS, st.integers(1, 20))
def test_a_tail_that_may_begin_a_stop_string_is_held_back(
    tokens: list[int], stops: list[str], count: int
) -> None:
    pieces = tokenizers.token_bytes(tokenizer(TokenUnit.BPE))
    detokenizer, plain = TextDetokenizer(pieces, stops), TextDetokenizer(pieces)
    so_far, whole = detokenizer.push(tokens[:count]), plain.push(tokens[:count])
    if detokenizer.ended:
        return
    held = whole.removeprefix(so_far)
    assert so_far + held == whole
    begun = [size for stop in stops for size in range(1, len(stop)) if whole.endswith(stop[:size])]
    assert len(held) == max(begun, default=0)


def test_bytes_of_an_unfinished_character_wait_for_the_rest() -> None:
    pieces = [b"", b"", b"", b"", b"\xf0\x9f", b"\x99\x82", b"!", b"\xc3"]
    detokenizer = TextDetokenizer(pieces)
    assert [detokenizer.push([4]), detokenizer.push([5]), detokenizer.push([6])] == ["", "🙂", "!"]
    assert detokenizer.push([7]) == ""
    assert detokenizer.close() == ""  # half a character is none
    broken = TextDetokenizer(pieces)
    assert broken.push([4, 6, 5]) == "\ufffd!\ufffd\ufffd"


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), st.integers(1, 5))
def test_bytes_make_the_text_the_tokenizers_library_makes(whole: str, step: int) -> None:
    tokens = tokenizers.encode(tokenizer(TokenUnit.BPE), whole).ids
    detokenizer = TextDetokenizer(tokenizers.token_bytes(tokenizer(TokenUnit.BPE)))
    text = "".join(detokenizer.update(tokens[:count]) for count in range(0, len(tokens) + step, step))
    assert text == tokenizers.decode(tokenizer(TokenUnit.BPE), tokens)


def test_the_end_of_a_document_ends_the_text() -> None:
    pieces = tokenizers.token_bytes(tokenizer(TokenUnit.CHARACTER))
    ids = tokenizers.encode(tokenizer(TokenUnit.CHARACTER), "ab").ids
    detokenizer = TextDetokenizer(pieces, ["bx"])
    assert detokenizer.push([*ids, END, *ids]) == "ab"
    assert (detokenizer.ended, detokenizer.tokens, detokenizer.finish_reason) == (True, 2, "stop")
    assert detokenizer.push(ids) == ""
    assert detokenizer.close() == ""
    assert detokenizer.tokens == 2


def test_the_tokens_of_a_stop_string_count_and_those_behind_it_do_not() -> None:
    pieces = tokenizers.token_bytes(tokenizer(TokenUnit.CHARACTER))
    detokenizer = TextDetokenizer(pieces, ["ba"])
    assert detokenizer.push(tokenizers.encode(tokenizer(TokenUnit.CHARACTER), "abbabb").ids) == "ab"
    assert (detokenizer.tokens, detokenizer.ended) == (4, True)


def test_marks_add_nothing_to_a_text() -> None:
    for unit in TokenUnit:
        detokenizer = TextDetokenizer(tokenizers.token_bytes(tokenizer(unit)))
        assert detokenizer.push([PADDING, UNKNOWN, BEGIN]) + detokenizer.close() == ""


@pytest.mark.parametrize(
    ("stops", "expected"),
    [(["bcd", "c"], "ab"), (["bc", "c"], "a"), (["cd", "abcde"], "ab"), (["e", "bcde"], "a")],
)
def test_of_several_stop_strings_the_first_to_be_complete_counts(stops: list[str], expected: str) -> None:
    pieces = [b"", b"", b"", b"", *(bytes([letter]) for letter in b"abcde"), b"abcde"]
    for tokens in ([4, 5, 6, 7, 8], [9], [4, 9]):
        detokenizer = TextDetokenizer(pieces, stops)
        prefix = "a" if tokens[0] == 4 and len(tokens) == 2 else ""
        assert detokenizer.push(tokens) + detokenizer.close() == prefix + expected


def test_a_detokenizer_is_opened_from_state_and_settings() -> None:
    detokenizer = open_detokenizer({"tokeniser": tokenizer(TokenUnit.CHARACTER)}, {"stop": ["b"]})
    tokens = np.array(tokenizers.encode(tokenizer(TokenUnit.CHARACTER), "aab").ids)
    assert detokenizer.update(tokens[:1]) + detokenizer.update(tokens) == "aa"
    assert detokenizer.ended
