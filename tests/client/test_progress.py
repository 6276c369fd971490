"""The progress bar: in a notebook, on a terminal, and nowhere else."""

import io
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from recurra.progress import NoBar, NotebookBar, ProgressView, TerminalBar, make_bar, progress_view

RUNNING = {"model": "sales", "status": "running", "progress": {"fraction": 0.5, "epoch": 3, "epochs": 6}}
ENDED = RUNNING | {"status": "succeeded"}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_has_a_line_that_is_written_over(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "100")
    bar = make_bar(enabled=True)
    assert isinstance(bar, TerminalBar)
    view = ProgressView(bar)
    report = view.sending("series.csv", 200)
    report(100)
    report(100)
    report(0)
    view.job(RUNNING)
    view.job(ENDED | {"model": "sa\x1b[31mles\n"})
    lines = terminal.getvalue().split("\r")[1:]
    assert ["50%" in lines[0], "200 bytes" in lines[1], "is being read" in lines[2]] == [True] * 3
    assert lines[3].startswith("sales ████████████░░░░░░░░░░░░  50% epoch 3/6")
    assert "\x1b" not in terminal.getvalue()
    assert lines[4].endswith("succeeded\n") or lines[4].rstrip(" \n").endswith("succeeded")
    assert max(map(len, lines)) <= 100
    assert terminal.getvalue().count("\n") == 1
    with progress_view(enabled=True) as shown:
        shown.sending("series.csv", 200)(100)
    assert terminal.getvalue().endswith("100 bytes\n")


def test_a_notebook_has_one_output_that_is_updated(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []

    def display(output: Any, *, display_id: bool) -> Any:
        assert display_id
        shown.append(output)
        return SimpleNamespace(update=shown.append)

    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=display))
    bar = make_bar(enabled=True)
    assert isinstance(bar, NotebookBar)
    view = ProgressView(bar)
    view.job(RUNNING | {"model": "<b>"})
    view.job(ENDED)
    assert [repr(output) for output in shown] == ["<b> 50% epoch 3/6", "sales 100% succeeded"]
    assert "&lt;b&gt;" in shown[0]._repr_html_()
    assert "<progress value='0.5000'" in shown[0]._repr_html_()


def test_elsewhere_nothing_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    for enabled in (True, False):
        bar = make_bar(enabled=enabled)
        assert isinstance(bar, NoBar)
        ProgressView(bar).job(RUNNING)
        bar.close()
    monkeypatch.setattr(sys, "stderr", None)  # such as in a program without a console
    assert isinstance(make_bar(enabled=True), NoBar)
    terminal = SimpleNamespace(get_ipython=SimpleNamespace)  # IPython on a terminal
    monkeypatch.setitem(sys.modules, "IPython", terminal)
    assert isinstance(make_bar(enabled=True), NoBar)
