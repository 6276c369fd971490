from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import DatasetInvalid, Problem
from app.tasks.shared.ragged import Ragged, Texts
from app.tasks.source import Faults
from app.tasks.tagging.sentences import Sentences
from app.tasks.tagging.validation import validate_tags
from tests.support.factories.tagged import entities, to_bioes, to_iob1


def make_sentences(*sentences: list[str]) -> Sentences:
    """Sentences whose words do not matter."""
    names = list(dict.fromkeys(tag for tags in sentences for tag in tags))
    words = Texts.of(["", *(f"w{number}" for number in range(max(map(len, sentences))))])
    tokens = Ragged.of([np.arange(1, len(tags) + 1) for tags in sentences], np.int32)
    numbers = np.array([names.index(tag) for tags in sentences for tag in tags], np.int16)
    return Sentences(words, tokens, numbers, names, None, np.zeros(len(sentences), np.int8))


def validated(*sentences: list[str]) -> tuple[Sentences, str]:
    return validate_tags(make_sentences(*sentences), lambda sentence, token: 10 * sentence + token, Faults())


def refused(*sentences: list[str]) -> list[Problem]:
    faults = Faults()
    with pytest.raises(DatasetInvalid) as caught:
        validate_tags(make_sentences(*sentences), lambda sentence, token: 10 * sentence + token, faults)
    return caught.value.problems


def tags_of(sentences: Sentences) -> list[list[str]]:
    starts, ends = sentences.tokens.offsets[:-1].tolist(), sentences.tokens.offsets[1:].tolist()
    return [
        [sentences.tag_names[tag] for tag in sentences.tags[start:end].tolist()]
        for start, end in zip(starts, ends, strict=True)
    ]


def bilou(tags: list[str]) -> list[str]:
    letters = {"S": "U", "E": "L"}
    return [letters.get(tag[0], tag[0]) + tag[1:] for tag in to_bioes(tags)]


@pytest.mark.parametrize(("name", "write"), [("bio", list), ("bioes", to_bioes), ("bilou", bilou)])
def test_legal_tags_stay_as_they_are(name: str, write: type[list[str]]) -> None:
    written = [write(tags) for _, tags in entities(40)]
    sentences, scheme = validated(*written)
    assert scheme == name
    assert sentences.scheme is not None
    assert sentences.scheme.name == name
    assert tags_of(sentences) == written


def test_iob1_becomes_bio() -> None:
    written = [tags for _, tags in entities(40)] + [["B-per", "B-per", "I-per", "B-loc"]]
    sentences, scheme = validated(*map(to_iob1, written))
    assert scheme == "iob1"
    assert sentences.scheme is not None
    assert sentences.scheme.name == "bio"
    assert tags_of(sentences) == written


@given(st.lists(st.sampled_from(["O", "I-a", "I-b"]), min_size=1, max_size=12))
def test_without_any_b_tags_are_iob1_and_mean_what_seqeval_reads(seqeval: Any, tags: list[str]) -> None:
    if tags.count("O") == len(tags):
        return
    sentences, scheme = validated(tags)
    assert scheme == "iob1"
    entities_of = seqeval.metrics.sequence_labeling.get_entities
    assert entities_of(tags_of(sentences)[0]) == entities_of(tags)


def test_tags_that_are_no_entities_have_no_scheme() -> None:
    sentences, scheme = validated(["NN", "VB"], ["NN", "."])
    assert (sentences.scheme, scheme) == (None, "plain")


@pytest.mark.parametrize(
    ("tags", "line", "words"),
    [
        (["O", "I-per", "O"], 21, ["'I-per'", "token 2 ('w1')", "behind 'O'", "'B-per' or 'I-per'", "IOB1"]),
        (["I-per", "O"], 20, ["token 1", "beginning of a sentence"]),
        (["B-per", "I-loc"], 21, ["behind 'B-per'", "'B-loc' or 'I-loc'"]),
        (["B-per", "I-per", "O", "I-per"], 23, ["token 4"]),
    ],
)
def test_a_stray_i_is_refused_with_its_line(tags: list[str], line: int, words: list[str]) -> None:
    [problem] = refused(["B-per", "I-per", "O"], ["B-loc", "O", "O"], tags)
    assert problem.pointer == f"/file/row/{line}/column/tags"
    assert all(word in problem.detail for word in words), problem.detail


@pytest.mark.parametrize(
    ("tags", "line", "word"),
    [
        (["B-per", "O"], 20, "needs 'I-per' or 'E-per' behind it"),
        (["O", "B-per"], 21, "needs"),
        (["B-per", "I-per", "S-per"], 21, "needs"),
        (["O", "E-per"], 21, "behind 'O'; 'B-per' or 'I-per' must stand before it."),
        (["S-per", "I-per", "E-per"], 21, "behind 'S-per'"),
        (["B-per", "E-loc"], 21, "behind 'B-per'; 'B-loc' or 'I-loc'"),
    ],
)
def test_entities_of_bioes_end(tags: list[str], line: int, word: str) -> None:
    good = [["B-per", "I-per", "E-per", "O", "S-loc"], ["S-per", "B-loc", "E-loc"]]
    details = {problem.pointer: problem.detail for problem in refused(*good, tags)}
    assert word in details[f"/file/row/{line}/column/tags"], details


@pytest.mark.parametrize("tag", ["B-", "I", "X-per", "per", "S-per", "i-per"])
def test_a_tag_that_is_none_beside_others_is_refused(tag: str) -> None:
    [problem] = refused(["B-per", "I-per", "O", "O"], ["O", "O", tag, "O"])
    assert problem.pointer == "/file/row/12/column/tags"
    assert f"{tag!r} of token 3 ('w2') is no tag of entities; the others are BIO" in problem.detail


def test_twenty_faults_are_reported() -> None:
    assert len(refused(["B-a", "O"], *[["O", "I-a"]] * 30)) == 20


def test_there_may_not_be_thousands_of_types() -> None:
    many = [f"B-{number}" for number in range(128)]
    assert validated(many)[1] == "bio"
    [problem] = refused([*many, "B-x"])
    assert problem.pointer == "/file/column/tags"
    assert "129 types" in problem.detail


def test_letters_alone_are_entities_without_a_type() -> None:
    sentences, scheme = validated(["B", "I", "O"], ["O", "B"])
    assert scheme == "bio"
    assert sentences.tag_set.types == ["", ""]
    [problem] = refused(["B", "O"], ["O", "B", "I", "O", "I"])
    assert "'B' or 'I' must stand before it" in problem.detail
