"""Errors of pydantic and msgspec as problems, with pointers into the request and nothing of the inside."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from app.errors import Problem, pointer
from app.patterns import PATTERNS_IN_WORDS
from app.validation.json_text import surrogate_reason

PATH_SUFFIX = re.compile(r" - at `\$(?P<path>[^`]*)`$")  # where msgspec's messages say what is wrong
PATH_STEP = re.compile(r"\.([^.\[\]]+)|\[([^\]]*)\]")
UNKNOWN_FIELD = re.compile(r"Object contains unknown field `(?P<name>[^`]*)`")
# Types of pydantic's errors that say what a value should be: several at one place are one fault.
TYPE_ERROR = re.compile(r".*_(type|parsing|from_float)$|literal_error|is_instance_of")
EXPECTED = re.compile(r"^Input should be (a |an )?(valid )?(?P<what>[^,]*)")
MISSING, UNKNOWN = "missing", "extra_forbidden"
OBJECT_ERRORS = ("model_attributes_type", "model_type", "dict_type")
KINDS_OF_JSON = {list: "an array", str: "a string", bool: "a boolean", int: "a number", float: "a number"}


UnknownField = Callable[[Sequence[str | int]], str]  # a sentence about the field with these steps


def pydantic_problems(
    errors: Iterable[Mapping[str, Any]], content: Any, unknown_field: UnknownField | None = None
) -> list[Problem]:
    """The errors of a pydantic model for `content`, one problem for each place.

    Pointers lead only through what `content` has: the branches of a union, which pydantic names too, are left
    out. `unknown_field` describes fields that the model does not have.
    """
    places: dict[tuple[str | int, ...], list[Mapping[str, Any]]] = {}
    for error in errors:
        place = _place_in(content, error["loc"], own=error["type"] in (MISSING, UNKNOWN))
        places.setdefault(place, []).append(error)
    return [
        Problem(
            pointer(*place),
            unknown_field(place) if unknown_field and some[0]["type"] == UNKNOWN else _detail(place, some),
        )
        for place, some in places.items()
    ]


def _place_in(content: Any, loc: Iterable[str | int], *, own: bool) -> tuple[str | int, ...]:
    """The steps of `loc` that `content` has; `own` is whether the last one is kept even so."""
    steps, place = list(loc), []
    for index, step in enumerate(steps):
        if _has(content, step):
            content = content[step]
            place.append(step)
        elif own and index == len(steps) - 1:
            place.append(step)
    return tuple(place)


def _has(content: Any, step: str | int) -> bool:
    if isinstance(content, list):
        return isinstance(step, int) and step < len(content)
    return isinstance(content, dict) and step in content


def _detail(place: tuple[str | int, ...], errors: list[Mapping[str, Any]]) -> str:
    """What is wrong in one place; of the branches of a union, what each would take."""
    first = errors[0]
    if first["type"] == "string_unicode" and isinstance(first["input"], str):
        subject = "The name of a field" if not place or first["loc"][-1] == "[key]" else f"The {place[-1]}"
        return f"{subject} {surrogate_reason(first['input'])}"
    if first["type"] == "string_pattern_mismatch" and first["ctx"]["pattern"] in PATTERNS_IN_WORDS:
        return f"Input should be {PATTERNS_IN_WORDS[first['ctx']['pattern']]}"
    if first["type"] in OBJECT_ERRORS and (kind := KINDS_OF_JSON.get(type(first["input"]))):
        return f"Input should be an object, not {kind}"
    if len(errors) == 1:
        return str(first["msg"])
    if all(TYPE_ERROR.match(error["type"]) for error in errors):
        expected = [EXPECTED.match(error["msg"]) for error in errors]
        kinds = dict.fromkeys(match["what"] if match else "" for match in expected)
        return "Input should be one of: " + ", ".join(filter(None, kinds))
    # One branch has the right type and another fault, which is then the fault.
    return next(str(error["msg"]) for error in errors if not TYPE_ERROR.match(error["type"]))


def msgspec_problem(message: str) -> Problem:
    """A message of msgspec as a problem, with the path at its end as the pointer."""
    match = PATH_SUFFIX.search(message)
    if match is None:
        return Problem("", message)
    steps = [name or index for name, index in PATH_STEP.findall(match["path"])]
    # msgspec writes `...` for any key of a mapping: the pointer ends before it.
    known = steps[: steps.index("...")] if "..." in steps else steps
    return Problem(pointer(*known), message[: match.start()])
