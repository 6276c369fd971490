from collections.abc import Sequence
from typing import Any

from app.errors import Invalid
from app.prediction.together import Share, run_together


class Doubling:
    """Doubles numbers, but no negative ones; the calls are remembered."""

    def __init__(self) -> None:
        self.calls: list[tuple[list[int], Any]] = []

    def __call__(self, items: Sequence[int], parameters: Any) -> list[int]:
        self.calls.append((list(items), parameters))
        if min(items) < 0:
            raise Invalid("negative")
        return [2 * item for item in items]


def test_shares_are_one_call_and_everybody_gets_their_own() -> None:
    function = Doubling()
    results = run_together(function, [Share([k, k + 10][: 1 + k % 2], None) for k in range(3)])
    assert results == [[0], [2, 22], [4]]
    assert function.calls == [([0, 1, 11, 2], None)]


def test_other_parameters_are_another_call() -> None:
    function = Doubling()
    assert run_together(function, [Share([k], [k % 2]) for k in range(4)]) == [[0], [2], [4], [6]]
    assert function.calls == [([0, 2], [0]), ([1, 3], [1])]


def test_who_is_wrong_fails_nobody_else() -> None:
    function = Doubling()
    wrong = (1, 6)
    results = run_together(function, [Share([-1 if k in wrong else k], None) for k in range(8)])
    assert [k for k, result in enumerate(results) if isinstance(result, Invalid)] == [*wrong]
    assert [result for result in results if not isinstance(result, Exception)] == [
        [2 * k] for k in range(8) if k not in wrong
    ]
    assert len(function.calls) < 2 * 8


def test_nothing_is_no_call() -> None:
    function = Doubling()
    assert run_together(function, []) == []
    assert not function.calls
