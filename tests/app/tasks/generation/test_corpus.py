"""How a corpus is split, and how its texts are cut_part into iterate_blocks."""

from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.tasks.generation import corpus
from app.tasks.generation.corpus import CorpusPart, CorpusSplits, cut_part, iterate_blocks, split_corpus
from app.tasks.shared.ragged import Texts

WORDS = st.text(st.sampled_from("ab \n"), max_size=60)


def split_texts(texts: list[str], codes: list[int] | None = None, seed: int = 0) -> CorpusSplits:
    return split_corpus(Texts.of(texts), np.array(codes or [-1] * len(texts), np.int8), seed)


def lines(count: int, name: str = "line") -> str:
    return "".join(f"{name} number {at}\n" for at in range(count))


def test_one_text_is_split_by_position_at_line_ends() -> None:
    whole = lines(1000)
    parts = split_texts([whole])
    [train], [valid], [test] = parts.train.texts, parts.valid.texts, parts.test.texts
    assert train + valid + test == whole
    for part in (valid, test):
        assert part.startswith("line number")
        assert len(part) == pytest.approx(0.1 * len(whole), rel=0.02)
    assert (parts.train.ended, parts.valid.ended, parts.test.ended) == (False, False, True)
    assert split_texts([whole], seed=5) == parts


def test_of_a_large_text_less_is_held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = lines(1000)
    monkeypatch.setattr(corpus, "LARGE_CORPUS_CHARS", len(whole))
    assert split_texts([whole]).test.characters == pytest.approx(0.05 * len(whole), rel=0.02)


def test_a_text_without_any_space_is_split_too() -> None:
    parts = split_texts(["a" * 1000])
    assert [part.characters for part in (parts.train, parts.valid, parts.test)] == [800, 100, 100]


def test_a_few_documents_are_split_by_position_across_them() -> None:
    texts = [lines(300, "one"), lines(40, "two"), lines(10, "three")]
    parts = split_texts(texts)
    assert "".join(parts.train.texts + parts.valid.texts + parts.test.texts) == "".join(texts)
    assert parts.test.texts[-1].endswith(texts[2])
    assert parts.test.ended


def test_whole_documents_are_drawn_from_many_by_seed() -> None:
    texts = [f"{at} " * (5 + at % 7) for at in range(60)]
    parts = split_texts(texts)
    drawn = [parts.train.texts, parts.valid.texts, parts.test.texts]
    assert [len(part) for part in drawn] == [48, 6, 6]
    assert sorted(chain.from_iterable(drawn)) == sorted(texts)
    assert all(part.ended for part in (parts.train, parts.valid, parts.test))
    assert split_texts(texts) == parts
    assert split_texts(texts, seed=1) != parts


def test_small_and_large_documents_are_drawn_alike() -> None:
    texts = ["x" * 2 ** (at % 11) for at in range(200)]
    whole = sum(map(len, texts))
    for seed in range(5):
        assert split_texts(texts, seed=seed).test.characters == pytest.approx(0.1 * whole, rel=0.25)


def test_where_one_document_is_most_of_all_it_is_split_by_position() -> None:
    texts = [lines(1000), *(f"short {at}\n" for at in range(30))]
    parts = split_texts(texts)
    assert "".join(parts.train.texts + parts.valid.texts + parts.test.texts) == "".join(texts)
    assert parts.train.characters > 0.75 * sum(map(len, texts))


def test_a_split_in_the_file_is_kept() -> None:
    parts = split_texts(["a", "b", "c", "d", "e"], [0, 2, 1, -1, 2])
    assert (parts.train.texts, parts.valid.texts, parts.test.texts) == (["a", "d"], ["c"], ["b", "e"])


def test_a_split_missing_in_the_file_is_cut_off_or_drawn() -> None:
    whole = lines(500)
    parts = split_texts([whole, "the end"], [0, 2])
    assert parts.test == CorpusPart(["the end"])
    assert parts.train.texts[0] + parts.valid.texts[0] == whole
    many = split_texts([str(at) * 5 for at in range(40)], [2, *[-1] * 39])
    assert many.test.texts == ["0" * 5]
    assert len(many.valid.texts) == 4


def test_texts_are_in_normal_form() -> None:
    assert split_texts(["a\u0301", "b", "c"], [0, 1, 2]).train.texts == ["á"]


@given(st.lists(WORDS.filter(bool), min_size=1, max_size=5), st.integers(1, 200), st.booleans())
def test_cutting_loses_nothing(texts: list[str], count: int, ended: bool) -> None:
    first, second = cut_part(CorpusPart(texts, ended), count)
    assert "".join(first.texts + second.texts) == "".join(texts)
    assert second.ended == ended
    assert first.texts
    assert all(first.texts + second.texts)
    whole = sum(map(len, texts))
    if whole > count:
        assert second.characters >= min(count, len(texts[0]) - 1)
    documents = len(first.texts) + len(second.texts)
    assert documents == len(texts) + (not first.ended)


@given(WORDS, st.integers(1, 20))
def test_blocks_are_small_and_make_the_text(whole: str, size: int) -> None:
    blocks = list(iterate_blocks(whole, size))
    assert "".join(blocks) == whole
    assert all(0 < len(block) <= size for block in blocks[:-1])
    assert len(blocks[-1]) <= size


def test_blocks_end_with_lines_or_before_words() -> None:
    blocks = list(iterate_blocks("one two\nthree four five six seven", 12))
    assert blocks == ["one two\n", "three four", " five six", " seven"]


def test_the_last_of_a_part_is_about_as_much_as_requested() -> None:
    part = CorpusPart([lines(100), lines(100)])
    assert part.last(10**9) is part
    assert part.last(500).characters == pytest.approx(500, abs=20)
    assert part.last(500).ended
