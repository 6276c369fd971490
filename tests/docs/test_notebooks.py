"""The notebooks of examples/ are kept without outputs, and run against a service."""

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.support.fixtures.processes import up

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_small_and_has_no_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert cells
    for cell in cells:
        assert (cell.outputs, cell.execution_count) == ([], None)
        compile(cell.source, path.name, "exec")
    assert path.stat().st_size < 8192
    assert path.name in (ROOT / "examples" / "README.md").read_text()


def test_there_are_notebooks() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["forecasting", "sentiment"]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("default")  # those of Jupyter are not ours
def test_notebooks_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = {"forecasting": "hi-95", "sentiment": "probability"}
    with up(tmp_path / "data") as (_, url):
        paths = os.pathsep.join([str(ROOT), str(ROOT / "client")])
        for name, value in {"RECURRA_URL": url, "EPOCHS": "1", "ROWS": "600", "PYTHONPATH": paths}.items():
            monkeypatch.setenv(name, value)
        for path in NOTEBOOKS:
            notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
            client = NotebookClient(
                notebook,
                timeout=300,
                kernel_name="python3",
                resources={"metadata": {"path": ROOT / "examples"}},
            )
            client.execute()
            printed = [str(out.get("data", "")) for cell in notebook.cells for out in cell.get("outputs", [])]
            assert any(expected[path.stem] in text for text in printed), printed
