"""The OpenAPI document as generators of clients read it: types, unions, media types, examples, names."""

import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import msgspec
import pytest

from app.services.jobs.submission import check_options
from app.tasks import TASKS
from app.typedefs import Json
from tests.support.fixtures.service import openapi_document

DOCUMENT: Json = openapi_document()
COMPONENTS: Json = DOCUMENT["components"]["schemas"]
OPERATIONS: dict[str, Json] = {
    operation["operationId"]: operation
    for operations in DOCUMENT["paths"].values()
    for operation in operations.values()
}


def nodes(value: Any, place: str = "") -> Iterator[tuple[str, Json]]:
    """Every object of the document but those within examples and defaults."""
    if isinstance(value, list):
        for index, inner in enumerate(value):
            yield from nodes(inner, f"{place}/{index}")
    if isinstance(value, dict):
        yield place, value
        for name, inner in value.items():
            if name not in {"examples", "example", "default", "enum", "const"}:
                yield from nodes(inner, f"{place}/{name}")


def validate(value: Any, schema: Json) -> None:
    """Check a value against a schema of the document."""
    jsonschema.Draft202012Validator({**schema, "components": DOCUMENT["components"]}).validate(value)


def test_operations_have_names_that_read_well() -> None:
    verbs = "get|list|create|submit|delete|download|cancel|pause|resume|move|predict|infer|index|load|unload"
    verbs += "|listen|rotate|explain|test"
    for name, operation in OPERATIONS.items():
        assert re.fullmatch(rf"({verbs})(_[a-z]+)*", name), name
        assert operation["summary"] == name.replace("_", " ").capitalize()
    assert {
        "create_dataset",
        "submit_job",
        "get_job",
        "predict",
        "submit_sweep",
        "infer_model",
    } <= OPERATIONS.keys()
    assert len(OPERATIONS) == sum(map(len, DOCUMENT["paths"].values()))


def test_every_reference_leads_somewhere_and_every_schema_is_valid() -> None:
    for place, node in nodes(DOCUMENT):
        if "$ref" in node:
            assert node["$ref"].removeprefix("#/components/schemas/") in COMPONENTS, place
    for name, schema in COMPONENTS.items():
        jsonschema.Draft202012Validator.check_schema(schema)
        assert "description" in schema or name.startswith("Page_"), name
    assert not {"HTTPValidationError", "ValidationError"} & COMPONENTS.keys()


def test_every_array_says_what_is_in_it() -> None:
    arrays = [place for place, node in nodes(DOCUMENT) if node.get("type") == "array" and "items" not in node]
    assert arrays == []


def test_tasks_are_one_enumeration() -> None:
    assert COMPONENTS["TaskName"]["enum"] == sorted(TASKS)
    enumerations = [place for place, node in nodes(DOCUMENT) if node.get("enum") == sorted(TASKS)]
    assert enumerations == ["/components/schemas/TaskName"]
    for name in ("DatasetOut", "JobOut", "ModelOut", "VersionOut", "TaskOut"):
        field = "name" if name == "TaskOut" else "task"
        assert COMPONENTS[name]["properties"][field]["$ref"].endswith("/TaskName"), name


@pytest.mark.parametrize("union", ["JobIn", "SweepIn"])
def test_requests_are_unions_by_task(union: str) -> None:
    mapping = COMPONENTS[union]["discriminator"]["mapping"]
    assert COMPONENTS[union]["discriminator"]["propertyName"] == "task"
    assert {one["$ref"] for one in COMPONENTS[union]["oneOf"]} == set(mapping.values())
    assert mapping.keys() == TASKS.keys()
    for task, ref in mapping.items():
        schema = COMPONENTS[ref.removeprefix("#/components/schemas/")]
        assert schema["properties"]["task"]["const"] == task
        assert schema["additionalProperties"] is False
        assert {"task", "dataset", "model"} <= set(schema["required"])
        options = COMPONENTS[schema["properties"]["options"]["$ref"].removeprefix("#/components/schemas/")]
        assert options["properties"].keys() == TASKS[task].options.model_fields.keys()
        assert ("options" in schema["required"]) == bool(options.get("required"))


@pytest.mark.parametrize("name", ["submit_job", "submit_sweep", "predict"])
def test_there_is_an_example_for_each_task(name: str) -> None:
    content = OPERATIONS[name]["requestBody"]["content"]["application/json"]
    assert content["examples"].keys() == TASKS.keys()
    for task, example in content["examples"].items():
        validate(example["value"], content["schema"])
        if name == "predict":
            for instance in example["value"]["instances"]:
                msgspec.convert(instance, TASKS[task].instance)
        else:
            check_options(TASKS[task], example["value"]["options"])


@pytest.mark.parametrize(
    ("name", "status"), [("create_dataset", "201"), ("submit_job", "202"), ("predict", "200")]
)
def test_there_is_an_example_of_an_answer_for_each_task(name: str, status: str) -> None:
    content = OPERATIONS[name]["responses"][status]["content"]["application/json"]
    assert content["examples"].keys() == TASKS.keys()
    for task, example in content["examples"].items():
        validate(example["value"], content["schema"])
        if name == "predict":
            validate(example["value"], COMPONENTS[f"{task.capitalize()}PredictOut"])
            for prediction in example["value"]["predictions"]:
                msgspec.convert(prediction, TASKS[task].prediction)
                kinds = msgspec.json.schema(TASKS[task].prediction)["$defs"].values()
                (fields,) = (kind["properties"] for kind in kinds if "warnings" in kind["properties"])
                assert prediction.keys() <= fields.keys(), task
        else:
            assert example["value"]["task"] == task


def test_no_default_is_refused() -> None:
    for place, node in nodes(DOCUMENT):
        if "default" in node and not place.endswith("/properties"):
            validate(node["default"], {name: value for name, value in node.items() if name != "default"})
    parameters = {one["name"]: one["schema"] for one in OPERATIONS["predict"]["parameters"]}
    assert "default" not in parameters["alias"]  # beside `version` it would be refused


BINARY, TEXT = {"type": "string", "format": "binary"}, {"type": "string"}
MEDIA: dict[str, dict[str, Json | None]] = {
    "get_service_metrics": {"text/plain": TEXT},
    "download_dataset": {"application/octet-stream": BINARY},
    "download_model_artifact": {"application/zip": BINARY},
    "download_job_result": {"application/x-ndjson": TEXT},
    "list_job_events": {"application/json": None, "text/event-stream": TEXT},
    "predict": {"application/json": None, "text/event-stream": TEXT},
    "create_completion": {"application/json": None, "text/event-stream": TEXT},
    "infer_model": {"application/json": None, "application/octet-stream": None},
}


def test_answers_have_a_media_type_and_a_schema() -> None:
    for name, operation in OPERATIONS.items():
        status = next(one for one in ("201", "202", "204", "200") if one in operation["responses"])
        content = operation["responses"][status].get("content", {})
        assert (status == "204") == (not content), name
        assert all(media.get("schema") for media in content.values()), name
        if name in MEDIA:
            assert content.keys() == MEDIA[name].keys(), name
            for kind, schema in MEDIA[name].items():
                assert schema in (None, content[kind]["schema"]), name


def test_bodies_in_lines_are_no_object() -> None:
    content = OPERATIONS["listen"]["requestBody"]["content"]
    assert list(content) == ["application/jsonl", "application/x-ndjson"]
    for media in content.values():
        assert media["schema"].items() >= BINARY.items()
        assert "audio_base64" in media["schema"]["description"]


def test_errors_have_the_form_of_their_interface() -> None:
    for path, operations in DOCUMENT["paths"].items():
        kind = (
            "application/json" if f"{path}/".startswith(("/v2/", "/openai/")) else "application/problem+json"
        )
        for method, operation in operations.items():
            statuses = {"404", "422", "500", "503"}
            statuses |= {"409", "413", "415"} if "requestBody" in operation else set()
            assert statuses <= operation["responses"].keys(), (method, path)
            for status in ("404", "422", "500"):
                assert list(operation["responses"][status]["content"]) == [kind], (method, path, status)


def test_predictions_are_typed_by_task() -> None:
    for union, field in (("PredictIn", "instances"), ("PredictOut", "predictions")):
        assert len(COMPONENTS[union]["anyOf"]) == len(TASKS)
        for one in COMPONENTS[union]["anyOf"]:
            schema = COMPONENTS[one["$ref"].removeprefix("#/components/schemas/")]
            assert schema["properties"][field]["items"]["$ref"]
