"""The shape of the code: small folders, modules and functions, one place for a name, no private language."""

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PRODUCT = [*sorted((ROOT / "app").rglob("*.py")), *sorted((ROOT / "workers").rglob("*.py"))]
CLIENT = sorted((ROOT / "client" / "recurra").rglob("*.py"))
DISTRIBUTIONS = (PRODUCT, CLIENT)
CODE = [*PRODUCT, *CLIENT, *sorted((ROOT / "benchmarks").rglob("*.py"))]
MAX_MODULES, MAX_MODULE_LINES, MAX_FUNCTION_LINES = 15, 400, 45
TASK_FOLDERS = (ROOT / "app" / "tasks", ROOT / "client" / "recurra" / "tasks")
SHARED_NAMES = {"TASK", "log", "logger", "router"}  # a module has one of its own

# Words that say nothing, or that only this project understood.
BANNED = re.compile(
    r"found|told|tells|asked|quests?|crowd|curriculum|conductor|lookout|house|plane|misfits|settle|surprise|judged"
    r"|judgement|doorbell|bell|shelf|outbox|mailbox|inbox|heart|news|cork|corked|hopeless|rounds"
    r"|utils|helpers|misc|stuff"
)
# An extension of the Open Inference Protocol and a kind of file have names of tasks, which they are not.
PROTOCOL_WORDS = {
    "app/services/open_inference/codec.py": {"classification"},
    "app/media/child.py": {"video"},
}


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def identifiers(path: Path) -> Iterator[tuple[int, str]]:
    """Names that the code binds: functions, classes, parameters, variables, attributes; not strings."""
    for node in ast.walk(tree(path)):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield node.lineno, name
            case ast.arg(arg=name):
                yield node.lineno, name
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield node.lineno, name


def words(identifier: str) -> set[str]:
    """`readAny_thing` has `read`, `any` and `thing`; `NotFound` is HTTP's word."""
    identifier = identifier.replace("NotFound", "Missing")
    return set(re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", identifier).lower().strip("_").split("_"))


def repeated(definitions: Iterable[tuple[str, Path]]) -> dict[str, list[str]]:
    """Definitions in more than one place, with their places."""
    places: dict[str, list[str]] = defaultdict(list)
    for definition, path in definitions:
        places[definition].append(name_of(path))
    return {definition: paths for definition, paths in places.items() if len(paths) > 1}


def test_folders_modules_and_functions_fit_one_reading() -> None:
    folders = Counter(path.parent for path in CODE)
    large = [name_of(folder) for folder, modules in folders.items() if modules > MAX_MODULES]
    large += [name_of(path) for path in CODE if len(path.read_text().splitlines()) > MAX_MODULE_LINES]
    large += [
        f"{name_of(path)}:{function.lineno} {function.name}"
        for path in CODE
        for function in functions(path)
        if (function.end_lineno or 0) - function.lineno >= MAX_FUNCTION_LINES
    ]
    assert large == []


def test_imports_stand_at_the_top_and_count_whatever_they_are_for() -> None:
    offenders = [
        f"{name_of(path)}:{node.lineno}"
        for path in CODE
        for function in functions(path)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    shipped = [*PRODUCT, *CLIENT]
    assert offenders + [name_of(path) for path in shipped if "TYPE_CHECKING" in path.read_text()] == []


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=["server", "client"])
def test_no_two_classes_share_a_name(distribution: list[Path]) -> None:
    classes = (
        (node.name, path)
        for path in distribution
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ClassDef)
    )
    assert repeated(classes) == {}


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=["server", "client"])
def test_a_constant_or_an_alias_is_defined_once(distribution: list[Path]) -> None:
    constants = (
        (f"{target.id} = {ast.unparse(node.value)}", path)
        for path in distribution
        for node in tree(path).body
        if isinstance(node, ast.Assign) and "TypeVar" not in ast.unparse(node.value)
        for target in node.targets
        if isinstance(target, ast.Name) and not target.id.startswith("_") and target.id not in SHARED_NAMES
    )
    assert repeated(constants) == {}


def test_names_are_the_words_of_the_field() -> None:
    offenders = [
        f"{name_of(path)}:{line} {name}"
        for path in (*PRODUCT, *CLIENT)
        for line, name in identifiers(path)
        if any(map(BANNED.fullmatch, words(name)))
    ]
    named = [path for path in (*PRODUCT, *CLIENT) if any(map(BANNED.fullmatch, words(path.stem)))]
    assert offenders + [name_of(path) for path in named] == []


def test_generic_code_knows_no_task_by_name() -> None:
    tasks = {path.parent.name for path in (ROOT / "app" / "tasks").glob("*/task.py")}
    assert len(tasks) >= 5
    package = re.compile(rf"app\.tasks\.({'|'.join(tasks)})\b")
    offenders = [
        f"{name_of(path)}:{node.lineno}"
        for path in (*PRODUCT, *CLIENT)
        if not any(map(path.is_relative_to, TASK_FOLDERS))
        for node in ast.walk(tree(path))
        if (isinstance(node, ast.Constant) and node.value in tasks - PROTOCOL_WORDS.get(name_of(path), set()))
        or (isinstance(node, ast.ImportFrom) and package.match(node.module or ""))
    ]
    assert offenders == []
