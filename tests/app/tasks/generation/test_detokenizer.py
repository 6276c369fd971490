"""Text that is shown while it is generated: it is never taken back, and shows nothing of a stop string."""

from collections.abc import Sequence
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.tasks.generation.detokenizer import Streamed, follow
from app.tasks.shared import tokenizers
from app.tasks.shared.tokenizers import BEGIN, END, PADDING, UNKNOWN, Unit

SAMPLE = "ab ba abba — naïve 日本語 🙂🙃 a\u0301 the the end\n\nab ab"
FEW = st.text(st.sampled_from("ab é🙂"), max_size=14)
STOPS = st.lists(st.text(st.sampled_from("ab é🙂"), min_size=1, max_size=4), max_size=4)
TOKENS = st.lists(st.integers(0, 258), max_size=30)  # of a vocabulary of bytes


@cache
def tokeniser(unit: Unit) -> str:
    return tokenizers.learn([SAMPLE] * 3, unit, 270, spaced=True)


def shown(made: Streamed, tokens: Sequence[int], cuts: Sequence[int]) -> list[str]:
    """The deltas when tokens come in groups."""
    edges = [0, *sorted(cut % (len(tokens) + 1) for cut in cuts), len(tokens)]
    return [made.push(tokens[a:b]) for a, b in pairwise(edges)] + [made.close()]


def cut(whole: str, stops: Sequence[str]) -> str:
    """What is before the stop string that is complete first, found letter by letter."""
    for end in range(1, len(whole) + 1):
        begins = [end - len(stop) for stop in stops if whole[:end].endswith(stop)]
        if begins:
            return whole[: min(begins)]
    return whole


@given(FEW, STOPS, st.lists(st.integers(0, 40), max_size=6), st.sampled_from(list(Unit)))
def test_deltas_make_the_text_before_the_first_stop_string(
    whole: str, stops: list[str], cuts: list[int], unit: Unit
) -> None:
    ids = tokenizers.encode(tokeniser(unit), whole).ids
    spelled = tokenizers.pieces(tokeniser(unit))
    said = b"".join(spelled[number] for number in ids).decode()  # without what the vocabulary lacks
    made = Streamed(spelled, stops)
    deltas = shown(made, ids, cuts)
    expected = cut(said, stops)
    assert "".join(deltas) == expected
    assert made.ended == (expected != said)
    assert made.finish_reason == ("stop" if made.ended else "length")
    for stop in stops:
        assert stop not in "".join(deltas)


@given(TOKENS, STOPS)
def test_what_is_shown_is_always_the_beginning_of_the_end(tokens: list[int], stops: list[str]) -> None:
    spelled = tokenizers.pieces(tokeniser(Unit.BPE))
    one_by_one, at_once = Streamed(spelled, stops), Streamed(spelled, stops)
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
    spelled = tokenizers.pieces(tokeniser(Unit.BPE))
    made, plain = Streamed(spelled, stops), Streamed(spelled)
    so_far, whole = made.push(tokens[:count]), plain.push(tokens[:count])
    if made.ended:
        return
    held = whole.removeprefix(so_far)
    assert so_far + held == whole
    begun = [size for stop in stops for size in range(1, len(stop)) if whole.endswith(stop[:size])]
    assert len(held) == max(begun, default=0)


def test_bytes_of_an_unfinished_character_wait_for_the_rest() -> None:
    spelled = [b"", b"", b"", b"", b"\xf0\x9f", b"\x99\x82", b"!", b"\xc3"]
    made = Streamed(spelled)
    assert [made.push([4]), made.push([5]), made.push([6])] == ["", "🙂", "!"]
    assert made.push([7]) == ""
    assert made.close() == ""  # half a character is none
    broken = Streamed(spelled)
    assert broken.push([4, 6, 5]) == "\ufffd!\ufffd\ufffd"


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), st.integers(1, 5))
def test_bytes_make_the_text_the_tokenisers_library_makes(whole: str, step: int) -> None:
    tokens = tokenizers.encode(tokeniser(Unit.BPE), whole).ids
    made = Streamed(tokenizers.pieces(tokeniser(Unit.BPE)))
    found = "".join(made.update(tokens[:count]) for count in range(0, len(tokens) + step, step))
    assert found == tokenizers.decode(tokeniser(Unit.BPE), tokens)


def test_the_end_of_a_document_ends_the_text() -> None:
    spelled = tokenizers.pieces(tokeniser(Unit.CHARACTER))
    ids = tokenizers.encode(tokeniser(Unit.CHARACTER), "ab").ids
    made = Streamed(spelled, ["bx"])
    assert made.push([*ids, END, *ids]) == "ab"
    assert (made.ended, made.tokens, made.finish_reason) == (True, 2, "stop")
    assert made.push(ids) == ""
    assert made.close() == ""
    assert made.tokens == 2


def test_the_tokens_of_a_stop_string_count_and_those_behind_it_do_not() -> None:
    spelled = tokenizers.pieces(tokeniser(Unit.CHARACTER))
    made = Streamed(spelled, ["ba"])
    assert made.push(tokenizers.encode(tokeniser(Unit.CHARACTER), "abbabb").ids) == "ab"
    assert (made.tokens, made.ended) == (4, True)


def test_marks_add_nothing_to_a_text() -> None:
    for unit in Unit:
        made = Streamed(tokenizers.pieces(tokeniser(unit)))
        assert made.push([PADDING, UNKNOWN, BEGIN]) + made.close() == ""


@pytest.mark.parametrize(
    ("stops", "expected"),
    [(["bcd", "c"], "ab"), (["bc", "c"], "a"), (["cd", "abcde"], "ab"), (["e", "bcde"], "a")],
)
def test_of_several_stop_strings_the_first_to_be_complete_counts(stops: list[str], expected: str) -> None:
    spelled = [b"", b"", b"", b"", *(bytes([letter]) for letter in b"abcde"), b"abcde"]
    for tokens in ([4, 5, 6, 7, 8], [9], [4, 9]):
        made = Streamed(spelled, stops)
        prefix = "a" if tokens[0] == 4 and len(tokens) == 2 else ""
        assert made.push(tokens) + made.close() == prefix + expected


def test_what_a_state_and_a_search_say_is_followed() -> None:
    made = follow({"tokeniser": tokeniser(Unit.CHARACTER)}, {"stop": ["b"]})
    tokens = np.array(tokenizers.encode(tokeniser(Unit.CHARACTER), "aab").ids)
    assert made.update(tokens[:1]) + made.update(tokens) == "aa"
    assert made.ended
