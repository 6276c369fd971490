"""Text completions in OpenAI's format, by models whose instances are prompts."""

import secrets
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Annotated, Any, NoReturn

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database.tables import Model
from app.errors import Invalid, NotFound, Problem, pointer
from app.prediction.request_errors import not_json
from app.services.models import versions
from app.services.serving.predictions import PredictionService
from app.services.serving.streaming import InstanceEnd, StreamEnd, TextDelta, stream_predictions
from app.services.serving.version_router import Route, VersionSelector, parse_version
from app.tasks import TASKS
from app.tasks.contract import Example, Task
from app.typedefs import Json
from app.validation.json_slices import MAX_JSON_VALUES, has_too_many_values
from app.validation.names import unknown_name
from app.validation.schema_errors import UNKNOWN_FIELD, msgspec_problem

MAX_COMPLETIONS = 128  # of one request, over all prompts
MAX_STOPS = 8  # texts that end a completion, as the tasks have it
MODEL_SEPARATOR = ":"  # between a model and its version, or an alias, in a name
DEFAULT_MAX_TOKENS = 16  # of a completion, as OpenAI has it


class CompletionModelNotFound(NotFound):
    """There is no such model here."""

    code = "model-not-found"


class StreamOptions(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What a stream contains beside the text."""

    include_usage: bool = False
    include_obfuscation: bool = False  # accepted without effect: it would hide the lengths of the pieces


class CompletionRequest(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The body of a request; `null` in a field is the same as leaving it out."""

    model: str
    prompt: Any = ""
    best_of: int | None = None
    echo: bool | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    logprobs: int | None = None
    max_tokens: int | None = None
    n: Annotated[int, msgspec.Meta(ge=1, le=MAX_COMPLETIONS)] | None = None
    presence_penalty: float | None = None
    seed: Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    stop: str | Annotated[list[str], msgspec.Meta(max_length=MAX_STOPS)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    suffix: str | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    user: str | None = None

    @property
    def prompts(self) -> list[str]:
        """The texts to complete; raises `Invalid`."""
        prompts = [self.prompt] if isinstance(self.prompt, str) else self.prompt
        if not isinstance(prompts, list) or not prompts:
            _refuse("prompt", "takes a text, or a list of texts")
        if len(prompts) > MAX_COMPLETIONS:
            _refuse("prompt", f"takes {MAX_COMPLETIONS} texts at most")
        if not all(isinstance(prompt, str) for prompt in prompts):
            _refuse("prompt", "takes texts only: lists of tokens are not supported")
        return prompts

    def check(self) -> None:
        """Raise `Invalid` for fields of OpenAI's interface that are not supported."""
        if self.best_of not in (None, 1):
            _refuse("best_of", "only 1 is supported: every completion is returned")
        for name in ("logprobs", "suffix"):
            if getattr(self, name) is not None:
                _refuse(name, "this field is not supported")
        if self.logit_bias:
            _refuse("logit_bias", "this field is not supported")
        for name in ("frequency_penalty", "presence_penalty"):
            if getattr(self, name):
                _refuse(name, "only 0 is supported: repetition is not penalised")
        if self.stream_options is not None and not self.stream:
            _refuse("stream_options", "only with `stream`")
        if len(self.prompts) * (self.n or 1) > MAX_COMPLETIONS:
            _refuse("n", f"{MAX_COMPLETIONS} completions at most, over all prompts")


def _refuse(name: str, detail: str) -> NoReturn:
    raise _invalid(name, detail)


def _invalid(name: str, detail: str) -> Invalid:
    return Invalid(f"{name}: {detail}", [Problem(pointer(name), detail)])


def _refused(error: msgspec.ValidationError) -> Invalid:
    """The error for what msgspec says of a field, or of the request itself."""
    problem = msgspec_problem(str(error))
    _, *steps = problem.pointer.split("/")
    return _invalid(steps[0], problem.detail) if steps else Invalid(problem.detail)


_decode = msgspec.json.Decoder(CompletionRequest).decode


def parse_completion_request(body: bytes) -> CompletionRequest:
    """Parse and check a body; raises `Invalid` with a pointer at the bad field."""
    if has_too_many_values(body):
        raise Invalid(f"The request may have {MAX_JSON_VALUES:,} values")
    try:
        request = _decode(body)
    except msgspec.ValidationError as error:
        if match := UNKNOWN_FIELD.search(str(error)):
            fields = CompletionRequest.__struct_fields__
            raise _invalid(match["name"], unknown_name("field", match["name"], fields)) from None
        raise _refused(error) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise not_json(body, error) from None
    request.check()
    return request


def is_completion_task(task: Task | None) -> bool:
    """Whether the task's instances are prompts."""
    fields = () if task is None else task.instance.__struct_fields__
    return "prompt" in fields


def list_models(session: Session) -> list[Model]:
    """All models that complete prompts, newest first."""
    names = [name for name, task in TASKS.items() if is_completion_task(task)]
    return list(session.scalars(select(Model).where(Model.task.in_(names)).order_by(Model.id.desc())))


def select_version(name: str) -> VersionSelector:
    """The version that a name means: `model`, or `model:3` or `model:alias`."""
    model, separator, version = name.partition(MODEL_SEPARATOR)
    if not separator:
        return VersionSelector(model, None, None)
    number = parse_version(version)
    return VersionSelector(model, number, version if number is None else None)


def find_model(session: Session, name: str) -> Model:
    """A model that completes prompts, by its name or that of a version; raises `CompletionModelNotFound`."""
    selector = select_version(name)
    try:
        model = versions.get_model(session, selector.model)
        if selector.version is not None or selector.alias is not None:
            versions.resolve_version(session, *selector)
    except NotFound as error:
        raise CompletionModelNotFound(error.message) from None
    if not is_completion_task(TASKS.get(model.task)):
        raise CompletionModelNotFound(f"The model {name} is for {model.task}; it completes no prompts")
    return model


@dataclass
class Completions:
    """The completions of one request: `n` of each prompt, in the order of the prompts."""

    route: Route
    request: CompletionRequest
    begun: float  # on the clock of time.perf_counter
    id: str = field(default_factory=lambda: f"cmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))

    def __post_init__(self) -> None:
        if not is_completion_task(self.route.task):
            detail = f"The model `{self.route.model}` is for {self.route.task.name}"
            raise CompletionModelNotFound(f"{detail}; it completes no prompts")
        self._prompts, self._per_prompt = self.request.prompts, self.request.n or 1
        self._parameters = [self._parameters_of(choice) for choice in range(self._per_prompt)]

    def _parameters_of(self, choice: int) -> Any:
        """The task's parameters for one choice of each prompt; choices differ by their seeds only."""
        request = self.request
        max_tokens = DEFAULT_MAX_TOKENS if request.max_tokens is None else request.max_tokens
        values: Json = {"max_tokens": max_tokens}
        for name in ("temperature", "top_p", "stop"):
            if (value := getattr(request, name)) is not None:
                values[name] = value
        if request.seed is not None:  # the same seed would give the same text
            values["seed"] = (request.seed + choice + 2**63) % 2**64 - 2**63
        try:
            return msgspec.convert(values, self.route.task.parameters)
        except msgspec.ValidationError as error:
            raise _refused(error) from None

    def examples(self) -> list[Example]:
        """The network's input for each completion; raises `Invalid`."""
        task = self.route.task
        examples = []
        for prompt in self._prompts:
            instance = msgspec.convert({"prompt": prompt}, task.instance)
            examples += [
                self.route.codec.encode([instance], parameters)[0] for parameters in self._parameters
            ]
        return examples

    async def complete(self, service: PredictionService, examples: Sequence[Example], seconds: float) -> Json:
        """All completions as one object."""
        predictions, _ = await service.predict_examples(
            self.route, examples, self._parameters[0], seconds, self.begun
        )
        choices = [
            self._choice(index, self._echo(index) + prediction["text"], prediction["finish_reason"])
            for index, prediction in enumerate(predictions)
        ]
        return self._object(choices) | {"usage": self._usage(examples, predictions)}

    async def stream(
        self, service: PredictionService, examples: Sequence[Example], seconds: float
    ) -> AsyncGenerator[Json]:
        """The completions piece by piece, each piece as an object of the same form."""
        options = self.request.stream_options
        with_usage = options is not None and options.include_usage
        more: Json = {"usage": None} if with_usage else {}
        echoed: set[int] = set()
        events = stream_predictions(service, self.route, examples, self._parameters[0], seconds, self.begun)
        async with aclosing(events):
            async for event in events:
                if isinstance(event, StreamEnd):
                    if with_usage:
                        yield self._object([]) | {"usage": self._usage(examples, event.predictions)}
                    return
                text = event.text if isinstance(event, TextDelta) else ""
                if event.index not in echoed:
                    text = self._echo(event.index) + text
                    echoed.add(event.index)
                reason = event.finish_reason if isinstance(event, InstanceEnd) else None
                yield self._object([self._choice(event.index, text, reason)]) | more

    def _echo(self, index: int) -> str:
        return self._prompts[index // self._per_prompt] if self.request.echo else ""

    def _choice(self, index: int, text: str, reason: str | None) -> Json:
        return {"text": text, "index": index, "logprobs": None, "finish_reason": reason}

    def _object(self, choices: list[Json]) -> Json:
        head = {"id": self.id, "object": "text_completion", "created": self.created}
        return head | {"model": self.request.model, "choices": choices}

    def _usage(self, examples: Sequence[Example], predictions: Sequence[Json]) -> Json:
        """Numbers of tokens; a prompt counts once, without the token that begins every text."""
        prompt = sum(len(example.inputs) - 1 for example in examples[:: self._per_prompt])
        completion = sum(prediction["tokens"] for prediction in predictions)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
        }
