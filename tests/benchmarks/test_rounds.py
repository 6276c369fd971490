"""Rounds rotate, and a contestant that does not start spoils no round."""

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.serving import __main__ as serving
from benchmarks.serving import rounds
from benchmarks.serving.contestants import CONTESTANTS, Contestant
from benchmarks.serving.generator.messages import Corpus, Order
from benchmarks.serving.measure import Plan, Result, generate
from benchmarks.serving.processes import NoAnswer, free_port
from benchmarks.serving.rounds import Entry, absent, play
from benchmarks.serving.settings import Asked

PLAN = Plan(Path(), Path(), {}, Path())
ENTRIES = [Entry(one.name, one, PLAN) for one in CONTESTANTS[:3]]


def test_each_round_begins_with_another_contestant(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[tuple[int, str]] = []

    def measure(contestant: Contestant, _: Plan, seed: int) -> Result:
        order.append((seed, contestant.name))
        return Result()

    monkeypatch.setattr(rounds, "measure", measure)
    played = play(ENTRIES, 3)
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

    monkeypatch.setattr(rounds, "measure", measure)
    first, second = play(ENTRIES[:2], 2)
    assert set(first) == {"recurra"}
    assert set(second) == {"recurra", "mosec"}
    assert "left out of this round: no right answer" in capsys.readouterr().out
    assert absent(ENTRIES[:2], [first, second]) == f"\n\nDid not start in a round: {CONTESTANTS[1].label}."
    assert absent(ENTRIES[:2], [second]) == ""


def test_a_server_that_is_gone_gives_no_answer(tmp_path: Path) -> None:
    corpus = Corpus([b"{}"], [[1.0]], [1]).save(tmp_path / "corpus")
    with pytest.raises(NoAnswer, match="gone"):
        generate(Order(free_port(), "/", str(corpus), warmup=0.0, seconds=0.1, seed=0, clients=1))


def test_the_command_line_names_every_contestant(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["serving", "--only", "nobody"])
    with pytest.raises(SystemExit):
        serving.arguments()
    told = capsys.readouterr().err
    assert all(one.name in told for one in CONTESTANTS)


@pytest.mark.parametrize(
    ("options", "parts", "whole"),
    [
        ([], ["predictions", "numeric", "text", "media"], True),
        (["--part", "text"], ["text"], True),
        (["--part", "numeric"], ["numeric"], True),
        (["--only", "recurra"], ["predictions", "numeric", "text", "media"], False),
        (["--part", "text", "--clients", "8"], ["text"], False),
        (["--quick"], ["predictions", "numeric", "text", "media"], False),
    ],
)
def test_parts_run_alone_and_only_whole_ones_are_results(
    options: list[str], parts: list[str], whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[tuple[str, bool]] = []

    def note(name: str) -> Callable[[Asked], None]:
        return lambda asked: ran.append((name, asked.whole))

    monkeypatch.setattr(serving, "PARTS", {name: note(name) for name in serving.PARTS})
    monkeypatch.setattr("sys.argv", ["serving", *options])
    serving.main()
    assert ran == [(name, whole) for name in parts]


def test_text_is_not_asked_of_servers_that_have_none(capsys: pytest.CaptureFixture[str]) -> None:
    serving.PARTS["text"](Asked(["mosec", "celery"], Path()))
    assert capsys.readouterr().out == ""
