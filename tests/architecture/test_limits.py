"""Every list and every mapping of a request has a limit, wherever a schema has one."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from app.tasks import TASKS
from app.typedefs import Json
from tests.support.fixtures.service import openapi_document

DOCUMENT: Json = openapi_document()
EXAMPLES = ("example", "examples", "default")


def unlimited(node: Any, where: str, definitions: Json, seen: set[str]) -> Iterator[str]:
    """The places of arrays without `maxItems`, and of mappings of any names without `maxProperties`."""
    if isinstance(node, list):
        for index, inner in enumerate(node):
            yield from unlimited(inner, f"{where}/{index}", definitions, seen)
    if not isinstance(node, dict):
        return
    kinds = node.get("type", ())
    if "array" in ([kinds] if isinstance(kinds, str) else kinds) and "maxItems" not in node:
        yield where
    if isinstance(node.get("additionalProperties"), dict) and "maxProperties" not in node:
        yield where
    reference = node.get("$ref")
    if isinstance(reference, str) and reference not in seen:
        seen.add(reference)
        name = reference.rsplit("/", 1)[1]
        yield from unlimited(definitions[name], name, definitions, seen)
    for name, inner in node.items():
        if name not in EXAMPLES:
            yield from unlimited(inner, f"{where}/{name}", definitions, seen)


def test_requests_of_the_interface() -> None:
    schemas, seen = DOCUMENT["components"]["schemas"], set[str]()
    found = [
        place
        for path, operations in DOCUMENT["paths"].items()
        for method, operation in operations.items()
        for part in ("requestBody", "parameters")
        for place in unlimited(operation.get(part, {}), f"{method} {path}", schemas, seen)
    ]
    assert found == []
    assert "#/components/schemas/ForecastingInstance" in seen


@pytest.mark.parametrize("name", sorted(TASKS))
def test_instances_parameters_and_options_of_a_task(name: str) -> None:
    task = TASKS[name]
    schemas = [msgspec.json.schema(task.instance), msgspec.json.schema(task.parameters)]
    schemas.append(task.options.model_json_schema())
    for schema in schemas:
        assert list(unlimited(schema, name, schema.get("$defs", {}), set())) == []


def test_what_has_no_limit_is_found() -> None:
    schema = {"properties": {"a": {"anyOf": [{"type": ["array", "null"]}, {"additionalProperties": {}}]}}}
    assert list(unlimited(schema, "", {}, set())) == ["/properties/a/anyOf/0", "/properties/a/anyOf/1"]
