"""Time on the wire: RFC 3339, UTC, milliseconds, and back."""

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.times import rfc3339


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_769_851_800, "2026-01-31T09:30:00.000Z"),
        (1_769_851_800.1239, "2026-01-31T09:30:00.123Z"),
        (951_782_400, "2000-02-29T00:00:00.000Z"),
        (-0.001, "1969-12-31T23:59:59.999Z"),
    ],
)
def test_known_instants(seconds: float, text: str) -> None:
    assert rfc3339(seconds) == text


@given(st.floats(0, 4e9))
def test_it_reads_back_to_the_millisecond(seconds: float) -> None:
    text = rfc3339(seconds)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text)
    assert -1e-6 <= seconds - datetime.fromisoformat(text).timestamp() < 0.001 + 1e-6


@given(st.lists(st.floats(0, 4e9), min_size=2, max_size=2))
def test_texts_sort_as_instants(pair: list[float]) -> None:
    early, late = sorted(pair)
    assert rfc3339(early) <= rfc3339(late)


def test_the_zone_of_the_machine_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    assert datetime.fromisoformat(rfc3339(0)) == datetime(1970, 1, 1, tzinfo=UTC)
