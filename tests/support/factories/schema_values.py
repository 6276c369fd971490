"""Random values of a JSON schema of the OpenAPI document, and values that are none."""

from typing import Any

from hypothesis import strategies as st

from app.typedefs import Json

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
ANY = st.none() | st.booleans() | st.integers(-5, 5) | TEXT | st.lists(st.integers(0, 3), max_size=2)
REF = "#/components/schemas/"
MAX_ITEMS = 3


def values(schema: Json, components: Json) -> st.SearchStrategy[Any]:
    """Values that the schema takes."""
    if "$ref" in schema:
        return st.deferred(lambda: values(components[schema["$ref"].removeprefix(REF)], components))
    if "enum" in schema or "const" in schema:
        return st.sampled_from(schema.get("enum") or [schema["const"]])
    kind = schema.get("type")
    branches = schema.get("anyOf") or schema.get("oneOf")
    if isinstance(kind, list):
        branches = [{**schema, "type": one} for one in kind]
    if branches:
        return st.one_of([values(one, components) for one in branches])
    makers = {"object": _objects, "array": _arrays}
    if kind in makers:
        return makers[kind](schema, components)
    return _scalars(schema)


def _scalars(schema: Json) -> st.SearchStrategy[Any]:
    match schema.get("type"):
        case "string":
            return _texts(schema)
        case "integer":
            low = schema.get("minimum", schema.get("exclusiveMinimum", -4) + 1)
            high = schema.get("maximum", schema.get("exclusiveMaximum", low + 20) - 1)
            return st.integers(low, max(min(high, low + 20), low))
        case "number":
            low, high = (
                schema.get(f"exclusive{end}", schema.get(end.lower())) for end in ("Minimum", "Maximum")
            )
            return st.floats(
                low, high, allow_nan=False, allow_infinity=False,
                exclude_min="exclusiveMinimum" in schema, exclude_max="exclusiveMaximum" in schema,
            )  # fmt: skip
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
    return ANY


def _texts(schema: Json) -> st.SearchStrategy[str]:
    if schema.get("contentEncoding") == "base64":
        return st.sampled_from(["", "AAAA", "UklGRg=="])
    if "pattern" in schema:
        pattern: str = schema["pattern"]
        return st.from_regex(pattern, fullmatch=True)
    low = schema.get("minLength", 0)
    return st.text(
        st.characters(codec="utf-8"), min_size=low, max_size=min(schema.get("maxLength", 12), low + 12)
    )


def _arrays(schema: Json, components: Json) -> st.SearchStrategy[Any]:
    low = schema.get("minItems", 0)
    items = values(schema.get("items", {}), components)
    most = max(min(schema.get("maxItems", MAX_ITEMS), MAX_ITEMS), low)
    return st.lists(items, min_size=low, max_size=most, unique_by=repr if schema.get("uniqueItems") else None)


def _objects(schema: Json, components: Json) -> st.SearchStrategy[Any]:
    required = set(schema.get("required", ()))
    fields = {name: values(inner, components) for name, inner in schema.get("properties", {}).items()}
    known = st.fixed_dictionaries(
        {name: inner for name, inner in fields.items() if name in required},
        optional={name: inner for name, inner in fields.items() if name not in required},
    )
    further = schema.get("additionalProperties", True)
    if further is False or (further is True and fields):
        return known
    entries = st.dictionaries(TEXT, values({} if further is True else further, components), max_size=2)
    return st.builds(lambda one, other: {**other, **one}, known, entries)
