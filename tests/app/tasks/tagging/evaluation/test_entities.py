"""Entities of tags of any scheme, by hand."""

import pytest

from app.tasks.tagging.evaluation.entities import canonical_tags, entity_spans
from app.tasks.tagging.tag_schemes import SCHEMES

CASES = [
    (["O", "B-PER", "I-PER", "O", "B-LOC"], {("PER", 1, 3), ("LOC", 4, 5)}),
    (["I-PER", "I-PER", "B-PER"], {("PER", 0, 2), ("PER", 2, 3)}),
    (["S-LOC", "B-PER", "E-PER"], {("LOC", 0, 1), ("PER", 1, 3)}),
    (["U-LOC", "B-PER", "L-PER", "O"], {("LOC", 0, 1), ("PER", 1, 3)}),
    (["B", "I", "O"], {(" ", 0, 2)}),
    (["O"], set()),
]


@pytest.mark.parametrize(("tags", "spans"), CASES)
def test_entities_are_read_from_any_scheme(tags: list[str], spans: set[tuple[str, int, int]]) -> None:
    assert entity_spans(tags) == spans
    for scheme in SCHEMES.values():
        assert entity_spans(canonical_tags(scheme, spans, len(tags))) == spans


def test_tags_are_written_in_a_scheme() -> None:
    spans = {("PER", 0, 3), ("LOC", 3, 4)}
    assert canonical_tags(SCHEMES["bioes"], spans, 5) == ["B-PER", "I-PER", "E-PER", "S-LOC", "O"]
    assert canonical_tags(SCHEMES["bio"], {(" ", 0, 2)}, 2) == ["B", "I"]
