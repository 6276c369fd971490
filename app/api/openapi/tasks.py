"""Schemas that differ from task to task: of jobs and sweeps by their task, of predictions by the model's."""

import hashlib
from collections.abc import Iterator
from typing import Any, Literal

import msgspec
from pydantic import BaseModel, create_model

from app.api.response_schemas import REF, reference
from app.hyperparameters.options import NETWORK, TRAINING
from app.prediction.explanation_request import GRADIENT, INTEGRATED_GRADIENTS, MAX_EXPLAINED_STEPS
from app.prediction.request_parsing import MAX_INSTANCES
from app.schemas import JobIn
from app.services.sweeps.search import SweepIn
from app.tasks import TASKS
from app.tasks.contract import Task
from app.typedefs import Json

EXAMPLE_DATASET, EXAMPLE_JOB = "ds_0123456789abcdef", "job_0123456789abcdef"
EXAMPLE_TIME = "2026-01-31T09:30:00.000Z"
METHOD_SCHEMA: Json = {"type": "string", "enum": [GRADIENT, INTEGRATED_GRADIENTS]}
UNIONS = (  # of the components of all tasks, and what the path names
    ("PredictIn", "model"),
    ("PredictOut", "model"),
    ("ExplainIn", "model"),
    ("ExplainOut", "model"),
    ("DatasetPreviewOut", "data set"),
    ("DatasetExampleOut", "data set"),
)
EXAMPLE_SEARCH = {"network.cell": ["lstm", "gru"], "training.learning_rate": {"min": 0.001, "max": 0.01}}


def task_components() -> Json:
    """The components of all tasks, by name; `JobIn` and `SweepIn` are unions by `task`."""
    components: Json = {}
    for task in TASKS.values():
        components |= _msgspec_components(task)
        for model in (JobIn, SweepIn):
            components |= _request_components(task, model)
        components[f"{_title(task)}PredictIn"] = _predict_request(task)
        components[f"{_title(task)}PredictOut"] = _predict_response(task)
        components[f"{_title(task)}ExplainIn"] = _explain_request(task)
        components[f"{_title(task)}ExplainOut"] = _explain_response(task)
        components[f"{_title(task)}DatasetPreviewOut"] = _preview_response(task)
        components[f"{_title(task)}DatasetExampleOut"] = _example_response(task)
    for model in (JobIn, SweepIn):
        components[model.__name__] = _union_by_task(model)
    for name, owner in UNIONS:
        components[name] = {
            "description": f"By the task of the {owner} that the path names.",
            "anyOf": [reference(_title(task) + name) for task in _tasks()],
        }
    return components


def job_examples(model: type[BaseModel]) -> Json:
    """One example of a request for each task."""
    more = {"search": EXAMPLE_SEARCH} if model is SweepIn else {}
    return {
        task.name: {
            "value": {
                "task": task.name,
                "dataset": EXAMPLE_DATASET,
                "model": f"my-{task.name}",
                "options": _example_options(task),
                **more,
            }
        }
        for task in _tasks()
    }


def predict_examples() -> Json:
    """One example of a request for predictions for each task."""
    return {task.name: {"value": {"instances": [task.example_instance]}} for task in _tasks()}


def prediction_examples() -> Json:
    """One example of an answer with predictions for each task."""
    return {
        task.name: {
            "value": {"model": f"my-{task.name}", "version": 1, "predictions": [task.example_prediction]}
        }
        for task in _tasks()
    }


def dataset_examples() -> Json:
    """One example of an uploaded data set for each task."""
    return {
        task.name: {
            "value": {
                "id": EXAMPLE_DATASET,
                "object": "dataset",
                "name": f"my {task.name} data",
                "task": task.name,
                "format": task.formats[0],
                "bytes": 48_219,
                "sha256": hashlib.sha256(task.name.encode()).hexdigest(),
                "summary": next(iter(task.example_datasets.values()))[0],
                "warnings": [],
                "created_at": EXAMPLE_TIME,
            }
        }
        for task in _tasks()
    }


def queued_examples() -> Json:
    """One example of a training job that was just queued for each task."""
    nothing = dict.fromkeys(
        ("progress", "metrics", "model_version", "error", "sweep", "trial", "search", "started_at")
    )
    return {
        task.name: {
            "value": {
                "id": EXAMPLE_JOB,
                "object": "job",
                "kind": "train",
                "status": "queued",
                "task": task.name,
                "dataset": EXAMPLE_DATASET,
                "model": f"my-{task.name}",
                **_example_settings(task),
                "priority": 0,
                "cancel_requested": False,
                "pause_requested": False,
                "attempt": 0,
                "metadata": {},
                **nothing,
                "finished_at": None,
                "created_at": EXAMPLE_TIME,
                "updated_at": EXAMPLE_TIME,
            }
        }
        for task in _tasks()
    }


def _tasks() -> Iterator[Task]:
    return (TASKS[name] for name in sorted(TASKS))


def _title(task: Task) -> str:
    return task.name.capitalize()


def _example_options(task: Task) -> Json:
    return next(iter(task.example_datasets.values()))[1]


def _example_settings(task: Task) -> Json:
    """Network, training and options of the example's job, with every default filled in."""
    summary, named = next(iter(task.example_datasets.values()))
    options = task.options.model_validate(named)
    defaults = task.defaults(summary, options)
    return {
        "network": NETWORK | defaults.network,
        "training": TRAINING | defaults.training,
        "options": options.model_dump(mode="json"),
    }


def _msgspec_components(task: Task) -> Json:
    kinds = [task.instance, task.parameters, task.prediction, task.preview_row]
    _, components = msgspec.json.schema_components(kinds, ref_template=REF + "{name}")
    return components


def _request_components(task: Task, base: type[BaseModel]) -> Json:
    """The request of one task with the models that it refers to."""
    needs_options = any(field.is_required() for field in task.options.model_fields.values())
    fields: Any = {
        "task": (Literal[task.name], ...),
        "options": (task.options, ... if needs_options else task.options()),
    }
    name = f"{_title(task)}{base.__name__}"
    model: type[BaseModel] = create_model(name, __base__=base, **fields)
    schema = model.model_json_schema(ref_template=REF + "{model}")
    components: Json = schema.pop("$defs", {})
    schema["properties"]["options"].pop("default", None)  # the options say their defaults themselves
    return components | {name: schema | {"description": base.__doc__}}


def _union_by_task(base: type[BaseModel]) -> Json:
    mapping = {task.name: f"{REF}{_title(task)}{base.__name__}" for task in _tasks()}
    return {
        "description": base.__doc__,
        "oneOf": [{"$ref": ref} for ref in mapping.values()],
        "discriminator": {"propertyName": "task", "mapping": mapping},
    }


def _predict_request(task: Task) -> Json:
    return {
        "type": "object",
        "description": f"Instances to predict by a {task.name} model, or a data set of them.",
        "additionalProperties": False,
        "properties": {
            **_instance_properties(task),
            "dataset": {
                "type": ["string", "null"],
                "description": f"A data set of at most {MAX_INSTANCES} examples, instead of `instances`.",
            },
        },
    }


def _instance_properties(task: Task) -> Json:
    return {
        "instances": {
            "type": "array",
            "minItems": 1,
            "maxItems": MAX_INSTANCES,
            "items": reference(task.instance.__name__),
        },
        "parameters": reference(task.parameters.__name__),
    }


def _predict_response(task: Task) -> Json:
    return {
        "type": "object",
        "description": f"The predictions of a {task.name} model, in the order of the instances.",
        "required": ["model", "version", "predictions"],
        "properties": {
            "model": {"type": "string"},
            "version": {"type": "integer"},
            "predictions": {"type": "array", "items": reference(task.prediction.__name__)},
        },
    }


def _explain_request(task: Task) -> Json:
    fields = _instance_properties(task)
    return {
        "type": "object",
        "description": f"The instance whose prediction by a {task.name} model is explained.",
        "required": ["instances"],
        "additionalProperties": False,
        "properties": {
            **fields,
            "instances": {**fields["instances"], "maxItems": 1},
            "method": METHOD_SCHEMA | {"default": GRADIENT},
        },
    }


def _explain_response(task: Task) -> Json:
    numbers: Json = {"type": "array", "items": {"type": "number"}}
    texts: Json = {"type": "array", "items": {"type": "string"}}
    rows: Json = {"type": "array", "items": numbers}
    properties: Json = {
        "model": {"type": "string"},
        "version": {"type": "integer"},
        "prediction": reference(task.prediction.__name__),
        "method": METHOD_SCHEMA,
        "steps": {**texts, "description": "A name of each step that the network read."},
        "influence": {**numbers, "description": "Of each step; the sum is 1."},
        "layers": {**texts, "description": "Names of the rows of `gates` and of `hidden`."},
        "gates": {"type": "object", "additionalProperties": rows},
        "hidden": rows,
        "memory_length": {"type": "integer", "minimum": 1, "maximum": MAX_EXPLAINED_STEPS},
    }
    return {
        "type": "object",
        "description": f"The explanation of a prediction of a {task.name} model.",
        "required": list(properties),
        "properties": properties,
    }


def _preview_response(task: Task) -> Json:
    return {
        "type": "object",
        "description": f"The first examples of a data set for {task.name}, in order.",
        "required": ["dataset", "task", "data", "has_more"],
        "properties": {
            "dataset": {"type": "string"},
            "task": {"type": "string", "const": task.name},
            "data": {"type": "array", "items": reference(task.preview_row.__name__)},
            "has_more": {"type": "boolean"},
        },
    }


def _example_response(task: Task) -> Json:
    return {
        "type": "object",
        "description": f"An example of a data set for {task.name}, as a whole.",
        "required": ["dataset", "task", "index", "examples", "example"],
        "properties": {
            "dataset": {"type": "string"},
            "task": {"type": "string", "const": task.name},
            "index": {"type": "integer", "minimum": 0},
            "examples": {"type": "integer", "minimum": 1, "description": "How many the data set has."},
            "example": reference(task.preview_row.__name__),
        },
    }
