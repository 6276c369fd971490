"""What a field of a form may hold, read from a JSON schema."""

import json
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NoReturn

from app.typedefs import Json

BASE64_ENCODING = "base64"
MAX_CHOICES = 64
DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+")
THOUSANDS_COMMA = re.compile(r"[-+]?[1-9]\d{0,2},\d{3}")
MAX_QUOTED_CHARS = 40  # of what is no number


class FieldKind(StrEnum):
    """How a value is entered."""

    CHOICE = "choice"
    SWITCH = "switch"
    INTEGER = "integer"
    NUMBER = "number"
    LINE = "line"
    TEXT = "text"
    FILE = "file"  # whose content is sent in base64
    LIST = "list"  # numbers or texts, with commas between
    JSON = "json"


@dataclass(frozen=True)
class FieldSpec:
    """A field of a form."""

    name: str
    kind: FieldKind
    required: bool
    description: str = ""
    default: Any = None
    choices: tuple[Any, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    of_numbers: bool = False  # the items of a list

    @property
    def title(self) -> str:
        """The name for people."""
        words = self.name.removesuffix("_base64").replace("_", " ")
        return words[:1].upper() + words[1:]

    @property
    def label(self) -> str:
        """The name with whether a value must be entered."""
        return self.title + (" (required)" if self.required else "")


def read_fields(schema: Json) -> list[FieldSpec]:
    """The fields of an object's schema, those that are required first."""
    definitions = schema.get("$defs", {})
    schema = resolve(schema, definitions)
    required = set(schema.get("required", ()))
    fields = [
        _read_field(name, resolve(inner, definitions), definitions, required=name in required)
        for name, inner in schema.get("properties", {}).items()
    ]
    return sorted(fields, key=lambda field: not field.required)


def resolve(schema: Json, definitions: Json) -> Json:
    """A schema with its reference, if it is one, replaced by what it refers to."""
    reference = schema.get("$ref")
    if reference is None:
        return schema
    rest = {name: value for name, value in schema.items() if name != "$ref"}
    return {**definitions[reference.rsplit("/", 1)[1]], **rest}


def _read_field(name: str, schema: Json, definitions: Json, *, required: bool) -> FieldSpec:
    options = [resolve(inner, definitions) for inner in schema.get("anyOf", ())] or [schema]
    options = [option for option in options if option.get("type") != "null"]
    chosen: Json = options[0] if options else {}
    for option in options:  # of several the simplest, such as a text rather than a list of texts
        if option.get("type") in ("string", "integer", "number", "boolean"):
            chosen = option
            break
    kinds = chosen.get("type")
    kind = next((inner for inner in kinds if inner != "null"), None) if isinstance(kinds, list) else kinds
    choices = tuple(choice for choice in chosen.get("enum", ()) if choice is not None)[:MAX_CHOICES]
    items = resolve(chosen.get("items", {}), definitions)
    return FieldSpec(
        name=name,
        kind=_kind_of(str(kind), chosen, items, choices),
        required=required,
        description=schema.get("description") or "",
        default=schema.get("default"),
        choices=choices,
        minimum=chosen.get("minimum", chosen.get("exclusiveMinimum")),
        maximum=chosen.get("maximum", chosen.get("exclusiveMaximum")),
        of_numbers=_has_type(items, "number") or _has_type(items, "integer"),
    )


def _kind_of(kind: str, schema: Json, items: Json, choices: tuple[Any, ...]) -> FieldKind:
    if choices:
        return FieldKind.CHOICE
    if kind == "string":
        if schema.get("contentEncoding") == BASE64_ENCODING:
            return FieldKind.FILE
        return FieldKind.TEXT if schema.get("maxLength", 0) > 1_000 else FieldKind.LINE
    if kind == "array":
        simple = any(_has_type(items, name) for name in ("number", "integer", "string"))
        return FieldKind.LIST if simple else FieldKind.JSON
    simple_kinds = {"boolean": FieldKind.SWITCH, "integer": FieldKind.INTEGER, "number": FieldKind.NUMBER}
    return simple_kinds.get(kind, FieldKind.JSON)


def _has_type(schema: Json, name: str) -> bool:
    options = [schema, *schema.get("anyOf", ())]
    return any(
        name in ([kind] if isinstance(kind := option.get("type"), str) else kind or ()) for option in options
    )


def parse_list(text: str, *, numbers: bool) -> list[Any]:
    """The items of a list that was typed: with commas, semicolons, blanks or lines between; gaps are None.

    Where semicolons separate, commas are decimal. Raises `ValueError` about what is no number or ambiguous.
    """
    if text.lstrip().startswith("["):
        items: list[Any] = json.loads(text)
        return items
    if not numbers:
        return [item.strip() for item in text.replace("\n", ",").split(",") if item.strip()]
    return [_number_at(position, cell) for position, cell in enumerate(_number_cells(text), 1)]


def _number_cells(text: str) -> list[str]:
    if ";" in text:
        cells = [cell.strip() for cell in text.replace("\n", ";").split(";") if cell.strip()]
        commas = [cell for cell in cells if "," in cell]
        if commas and all(map(THOUSANDS_COMMA.fullmatch, commas)):
            _refuse_comma(commas[0])
        return [cell.replace(",", ".") if DECIMAL_COMMA.fullmatch(cell) else cell for cell in cells]
    words = [word.strip(",") for word in text.split()]
    decimal = [word for word in words if DECIMAL_COMMA.fullmatch(word)]
    if decimal and not any(word.count(",") > 1 for word in words):
        _refuse_comma(decimal[0])
    cells = text.replace("\n", ",").split(",")
    return [cell.strip() for cell in cells if cell.strip()] if len(cells) > 1 else words


def _refuse_comma(cell: str) -> NoReturn:
    either, other = cell.replace(",", "."), cell.replace(",", ", ")
    raise ValueError(f"{cell} may be one number or two; write {either}, or {other} with a blank")


def _number_at(position: int, cell: str) -> float | int | None:
    try:
        return parse_number(cell)
    except ValueError as error:
        raise ValueError(f"{cell[:MAX_QUOTED_CHARS]} is not a number (item {position})") from error


def parse_number(text: str) -> float | int | None:
    """A number, or None for a missing one; raises `ValueError`."""
    if text.lower() in ("null", "nan", "na", "none", "-"):
        return None
    return int(text) if text.lstrip("+-").isdigit() else float(text)


def parse_value(text: str) -> Any:
    """A value that was typed: JSON where it is some, else the text."""
    try:
        return json.loads(text)
    except ValueError:
        return text
