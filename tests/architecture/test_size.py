"""Small modules and functions, with no list of exceptions; and no import hidden in a function."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
CODE = sorted(path for part in ("app", "workers", "benchmarks") for path in (ROOT / part).rglob("*.py"))
MODULE_LINES, FUNCTION_LINES = 400, 45


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_fits_one_reading(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MODULE_LINES
    for function in functions(path):
        assert (function.end_lineno or 0) - function.lineno < FUNCTION_LINES, function.name
        assert not any(isinstance(node, ast.Import | ast.ImportFrom) for node in ast.walk(function)), (
            function.name
        )


def test_tests_are_at_least_as_long_as_the_code() -> None:
    code = sum(len(path.read_text().splitlines()) for path in CODE if "benchmarks" not in path.parts)
    tests = sum(len(path.read_text().splitlines()) for path in (ROOT / "tests").rglob("*.py"))
    assert tests >= code


def test_nothing_is_called_utils() -> None:
    assert [path for path in CODE if path.stem in {"utils", "helpers", "common", "misc"}] == []
