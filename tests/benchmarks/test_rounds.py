"""Rounds rotate, and a contestant that does not start spoils no round."""

from pathlib import Path

import pytest

from benchmarks.serving import __main__ as serving
from benchmarks.serving.contestants import CONTESTANTS, Contestant
from benchmarks.serving.measure import Plan, Result
from benchmarks.serving.processes import NoAnswer

PLAN = Plan(Path(), Path(), {}, Path())


def test_each_round_begins_with_another_contestant(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[tuple[int, str]] = []

    def measure(contestant: Contestant, _: Plan, seed: int) -> Result:
        order.append((seed, contestant.name))
        return Result()

    monkeypatch.setattr(serving, "measure", measure)
    played = serving.play(CONTESTANTS[:3], PLAN, 3)
    names = [one.name for one in CONTESTANTS[:3]]
    assert [name for seed, name in order if seed == 1] == [names[1], names[2], names[0]]
    assert sorted(order) == sorted((seed, name) for seed in range(3) for name in names)
    assert all(set(each) == set(names) for each in played)


def test_who_does_not_answer_is_left_out_of_that_round(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def measure(contestant: Contestant, _: Plan, seed: int) -> Result:
        if (contestant.name, seed) == ("mosec", 0):
            raise NoAnswer("no right answer, but nothing")
        return Result()

    monkeypatch.setattr(serving, "measure", measure)
    first, second = serving.play(CONTESTANTS[:2], PLAN, 2)
    assert set(first) == {"recurra"}
    assert set(second) == {"recurra", "mosec"}
    assert "left out of this round: no right answer" in capsys.readouterr().out


def test_the_command_line_names_every_contestant(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["serving", "--only", "nobody"])
    with pytest.raises(SystemExit):
        serving.arguments()
    told = capsys.readouterr().err
    assert all(one.name in told for one in CONTESTANTS)
