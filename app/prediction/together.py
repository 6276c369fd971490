"""Work for many requests at once, which takes less time than for one after the other."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

Function = Callable[[Sequence[Any], Any], list[Any]]


class Share(NamedTuple):
    """What one request adds to the work."""

    items: Sequence[Any]
    parameters: Any


def run_together(function: Function, shares: Sequence[Share]) -> list[list[Any] | Exception]:
    """The results of a function of items and parameters, one for each item: a list for each share.

    Shares with the same parameters are run as one. A share that fails gets its exception and fails no other:
    the others are run again without it.
    """
    results: list[list[Any] | Exception] = [[] for _ in shares]
    groups: list[list[int]] = []
    for index, share in enumerate(shares):
        group = next((group for group in groups if shares[group[0]].parameters == share.parameters), None)
        if group is None:
            groups.append([index])
        else:
            group.append(index)
    for group in groups:
        _run(function, shares, group, results)
    return results


def _run(
    function: Function, shares: Sequence[Share], group: Sequence[int], results: list[list[Any] | Exception]
) -> None:
    items = [item for index in group for item in shares[index].items]
    try:
        joint = function(items, shares[group[0]].parameters)
    except Exception as error:  # noqa: BLE001 - whoever asked gets it
        if len(group) == 1:
            results[group[0]] = error
            return
        middle = len(group) // 2  # by halves: one that fails costs the others no run of their own
        _run(function, shares, group[:middle], results)
        _run(function, shares, group[middle:], results)
        return
    position = 0
    for index in group:
        end = position + len(shares[index].items)
        results[index] = joint[position:end]
        position = end
