"""What the commands show is for people: figures side by side, without what does not fit into a table."""

import pytest

from app.cli.console import print_comparison


def test_figures_stand_beside_the_baseline_and_tables_are_left_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    metrics = {"f1": 0.5, "types": {"person": {"f1": 0.5}}, "bleu_signature": "nrefs:1", "best_epoch": 3}
    version = {"model": "names", "version": 2, "network": {"cell": "gru"}, "metrics": metrics}
    print_comparison(
        version | {"baseline": {"f1": 0.25, "types": {}, "bleu_signature": "x"}}, against="counting"
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].strip() == "names version 2 (gru)"
    assert [line.split() for line in lines[1:]] == [
        ["held-out", "data", "network", "counting"],
        ["f1", "0.5", "0.25"],
    ]


def test_without_common_figures_all_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    version = {
        "model": "m",
        "version": 1,
        "network": {},
        "metrics": {"loss": 1.5, "note": "x"},
        "baseline": {},
    }
    print_comparison(version)
    message = capsys.readouterr().out
    assert "loss" in message
    assert "note" not in message
