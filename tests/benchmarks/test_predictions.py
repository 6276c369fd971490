"""The part about predictions: who is entered with what, and what Recurra is compared with."""

from pathlib import Path

import pytest

from benchmarks.report import ROOT
from benchmarks.serving import __main__ as serving
from benchmarks.serving.contestants import CONTESTANTS
from benchmarks.serving.generator.messages import Corpus, Report, load_corpus
from benchmarks.serving.headline import BARE, SAME, headline, name_of, targets
from benchmarks.serving.measure import LOADS, Plan, Result
from benchmarks.serving.predictions import REQUESTS, SUBJECTS, Subject, entries, tables
from benchmarks.serving.requests.sentences import ROWS
from benchmarks.serving.requests.series import FORECASTS
from benchmarks.serving.requests.versions import Made, Row
from benchmarks.serving.rounds import Entry
from benchmarks.serving.settings import Asked

REQUEST = Corpus([b"{}"], [{"mean": [1.0]}], [48])
TENSOR = Corpus([b"[]"], [[0.5]], [48])
NAMES = [one.name for one in CONTESTANTS]


def subject(row: Row) -> Subject:
    network = TENSOR if row.task == "forecasting" else None
    return Subject(Made(row, Path("files") / row.name, REQUEST, 1), f"about {row.name}", network)


def entered(directory: Path, row: Row, *only: str) -> list[Entry]:
    base = Plan(directory, directory, {}, Path(), usual=REQUESTS)
    return entries([subject(row)], base, Asked(only or NAMES, Path()))


def modules(one: Entry) -> str:
    """The module that a contestant runs."""
    return next((part for part in one.contestant.command if part.startswith("benchmarks.")), "")


def test_a_forecast_is_entered_with_all_of_the_work_and_with_the_bare_network(tmp_path: Path) -> None:
    row = FORECASTS[0].row
    made = entered(tmp_path, row)
    assert [(one.name, one.contestant.path) for one in made] == [
        ("forecast-64, recurra, same work", "/v1/models/forecast-64/predict"),
        ("forecast-64, mosec, same work", "/predict"),
        ("forecast-64, litserve, same work", "/predict"),
        ("forecast-64, fastapi, same work", "/predict"),
        ("forecast-64, recurra, bare network", "/v2/models/forecast-64:network/infer"),
        ("forecast-64, mosec, bare network", "/infer"),
        ("forecast-64, litserve, bare network", "/infer"),
        ("forecast-64, fastapi, bare network", "/infer"),
    ]
    for one in made:
        assert (one.plan.task, one.plan.model, one.plan.shares) == ("forecasting", "forecast-64", LOADS)
        assert one.plan.artifact == Path("files") / "forecast-64"
        assert load_corpus(one.plan.corpora[REQUESTS]) == (TENSOR if BARE in one.name else REQUEST)
        assert ("same_work" in modules(one)) == (SAME in one.name and one.contestant.name != "recurra")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_sentence_is_entered_with_the_same_work_only(row: Row, tmp_path: Path) -> None:
    made = entered(tmp_path, row)
    assert [one.name for one in made] == [
        f"{row.name}, {name}, same work" for name in ("recurra", "mosec", "litserve", "fastapi")
    ]
    assert modules(made[-1]) == "benchmarks.serving.peers.text_app:app"


def test_every_module_that_is_started_exists(tmp_path: Path) -> None:
    for row in (FORECASTS[0].row, ROWS[0]):
        for one in entered(tmp_path, row):
            if name := modules(one).partition(":")[0]:
                assert (ROOT / name.replace(".", "/")).with_suffix(".py").is_file()


def test_one_server_can_be_measured_alone(tmp_path: Path) -> None:
    names = [one.name for one in entered(tmp_path, FORECASTS[0].row, "mosec", "celery")]
    assert names == ["forecast-64, mosec, same work", "forecast-64, mosec, bare network"]


def result(rate: float, p50: float = 1.0, p99: float = 2.0, cpu: float = 0.5) -> Result:
    cells = {
        count: Report(int(rate), 0, 0, rate * share, rate, p50, p99, 0.1)
        for count, share in ((1, 0.25), (32, 1.0), (128, 2.0))
    }
    opened = dict.fromkeys(LOADS, cells[1])
    return Result(cells, opened, cpu=dict.fromkeys(cells, cpu), idle=1.0, memory=100.0, start=2.0)


def rounds_of(name: str) -> list[dict[str, Result]]:
    """Two rounds, in the second of which mosec's bare network did not start."""
    ours, peer = name_of(name, "recurra", SAME), name_of(name, "fastapi", SAME)
    same, bare = name_of(name, "mosec", SAME), name_of(name, "mosec", BARE)
    litserve = name_of(name, "litserve", BARE)
    return [
        {
            ours: result(3000, 0.5, 9.0, 0.2),
            same: result(1000, 4.0, 10.0, 0.8),
            bare: result(1500, 3.0, 12.0, 0.4),
            litserve: result(500, 2.0),
            peer: result(800),
        },
        {ours: result(2000, 0.8), same: result(1000, 4.0), litserve: result(500, 2.0), peer: result(800)},
    ]


def ratios_of(name: str, clients: list[int]) -> dict[str, tuple[float | None, list[float]]]:
    compared = targets(rounds_of(name), [name], clients)
    return {one.what: (one.wanted, list(one.ratios)) for _, one in compared if one.ratios}


def test_short_forecasts_have_targets_within_each_round() -> None:
    compared = ratios_of("forecast-64", [1, 32, 128])
    assert compared["requests/s at 32 clients / mosec, bare network"] == (1.5, [2.0])
    assert compared["requests/s at 32 clients / mosec, same work"] == (3.0, [3.0, 2.0])
    assert compared["requests/s at 128 clients / mosec, same work"] == (1.0, [3.0, 2.0])
    assert compared["p99 at 32 clients / mosec, bare network"] == (1.0, [0.75])
    assert compared["p50 at 1 client / best peer that batches"] == (0.6, [0.25, 0.4])
    assert compared["CPU a request at 32 clients / mosec, same work"] == (None, [0.25, 1.0])
    assert compared["requests/s at 32 clients / litserve, bare network"] == (None, [6.0, 4.0])
    assert "requests/s at 32 clients / recurra, bare network" not in compared  # not measured


def test_long_forecasts_are_compared_for_information() -> None:
    compared = ratios_of("forecast-512-covariates", [1, 32, 128])
    assert compared.keys() == ratios_of("forecast-64", [1, 32, 128]).keys()
    assert {wanted for wanted, _ in compared.values()} == {None}


def test_sentences_are_held_against_the_server_written_by_hand() -> None:
    compared = ratios_of("tagging", [1, 32])
    assert compared["requests/s at 32 clients / fastapi, same work"] == (3.0, [3.75, 2.5])
    assert compared["requests/s at 1 client / fastapi, same work"] == (0.9, [3.75, 2.5])
    assert "128" not in " ".join(ratios_of("tagging", [1, 32]))


def test_only_cells_that_were_measured_are_compared() -> None:
    assert all("32" not in title for title in ratios_of("forecast-64", [1]))


def test_the_headline_begins_with_what_has_a_target() -> None:
    names = ["forecast-512", "forecast-64"]
    played = [one | other for one, other in zip(*map(rounds_of, names), strict=True)]
    lines = headline(played, names, [1, 32, 128]).splitlines()
    assert lines[0].startswith("| request | ratio | target |")
    assert lines[2] == (
        "| forecast-64 | requests/s at 32 clients / mosec, bare network | ≥ 1.5 | 2.00 | 2.00 to 2.00 | yes |"
    )
    with_target = [line.endswith(("| yes |", "| **no** |")) for line in lines[2:]]
    assert with_target == sorted(with_target, reverse=True)
    subjects = [line.split(" | ")[0] for line in lines[2:]]
    assert subjects.count("| forecast-512") == subjects.count("| forecast-64") == len(subjects) / 2


def test_every_server_has_its_own_figures_by_subject(tmp_path: Path) -> None:
    row = FORECASTS[0].row
    text = tables(rounds_of(row.name), entered(tmp_path, row), Asked(NAMES, Path(), [1, 32, 128]))
    assert text.startswith("### forecast-64\n")
    assert "| mosec 0.9.8 (batch 64, 2 ms), same work | **250** · 4.0 / 6.0 |" in text
    assert "FastAPI, model in its process, bare network" not in text  # not measured


def test_the_command_line_names_every_subject(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["serving", "--data", "nothing"])
    with pytest.raises(SystemExit):
        serving.arguments()
    message = capsys.readouterr().err
    assert all(name in message for name in SUBJECTS)
    monkeypatch.setattr("sys.argv", ["serving", "--part", "predictions", "--data", "forecast-64", "tagging"])
    assert serving.arguments().data == ["forecast-64", "tagging"]
