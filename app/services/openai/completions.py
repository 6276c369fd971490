"""Text completions as OpenAI's interface asks for and tells them, by models whose instances are prompts."""

import re
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
from app.errors import Invalid, NotFound, Problem
from app.services.serving.predictions import Plane, encode, respond
from app.services.serving.streaming import Delta, Done, Ended, stream
from app.services.serving.version_router import Route
from app.tasks import TASKS
from app.tasks.contract import Example, Task
from app.typedefs import Json

MOST = 128  # completions of one request
MAX_TOKENS = 16  # of a completion, unless the request says
UNKNOWN = re.compile(r"unknown field `([^`]*)`")
PLACE = re.compile(r" - at `\$\.([^`.\[]*)[^`]*`$")


class NoModel(NotFound):
    """There is no such model here."""

    code = "model-not-found"


class StreamOptions(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What else a stream tells."""

    include_usage: bool = False
    include_obfuscation: bool = False  # there is nothing to hide the length of


class Asked(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A request; `null` is as good as nothing."""

    model: str
    prompt: Any = ""
    best_of: int | None = None
    echo: bool | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    logprobs: int | None = None
    max_tokens: int | None = None
    n: Annotated[int, msgspec.Meta(ge=1, le=MOST)] | None = None
    presence_penalty: float | None = None
    seed: Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    stop: str | list[str] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    suffix: str | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    user: str | None = None

    @property
    def prompts(self) -> list[str]:
        """The texts to go on from; raises `Invalid`."""
        given = [self.prompt] if isinstance(self.prompt, str) else self.prompt
        if not isinstance(given, list) or not given:
            _refuse("prompt", "a text, or a list of texts")
        if not all(isinstance(one, str) for one in given):
            _refuse("prompt", "texts are needed: tokens are a model's own, and none are taken")
        return given

    def check(self) -> None:
        """Raise `Invalid` for what is not done here."""
        if self.best_of not in (None, 1):
            _refuse("best_of", "only 1 is done here: every completion is returned")
        if self.logprobs is not None:
            _refuse("logprobs", "log-probabilities are not told here")
        if self.suffix is not None:
            _refuse("suffix", "no text is inserted before another here")
        if self.logit_bias:
            _refuse("logit_bias", "logits are not biased here")
        for name in ("frequency_penalty", "presence_penalty"):
            if getattr(self, name):
                _refuse(name, "only 0 is done here: repetition is not penalised")
        if self.stream_options is not None and not self.stream:
            _refuse("stream_options", "only with `stream`")
        if len(self.prompts) * (self.n or 1) > MOST:
            _refuse("n", f"{MOST} completions at most, over all prompts")


def _refuse(name: str, detail: str) -> NoReturn:
    raise Invalid(f"{name}: {detail}", [Problem(f"/{name}", detail)])


_decode = msgspec.json.Decoder(Asked).decode


def parse(body: bytes) -> Asked:
    """Read a request; raises `Invalid` with a pointer at the bad field."""
    try:
        asked = _decode(body)
    except msgspec.ValidationError as error:
        found = UNKNOWN.search(str(error)) or PLACE.search(str(error))
        raise Invalid(str(error), [Problem(f"/{found[1]}", str(error))] if found else []) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(f"The body is not JSON: {error}") from None
    asked.check()
    return asked


def completes(task: Task | None) -> bool:
    """Whether a task goes on from prompts."""
    fields = () if task is None else task.instance.__struct_fields__
    return "prompt" in fields


def listed(session: Session) -> list[Model]:
    """The models that complete, newest first."""
    names = [name for name, task in TASKS.items() if completes(task)]
    return list(session.scalars(select(Model).where(Model.task.in_(names)).order_by(Model.id.desc())))


def find(session: Session, name: str) -> Model:
    """One of them; raises `NoModel`."""
    model = session.get(Model, name)
    if model is None or not completes(TASKS.get(model.task)):
        raise NoModel(f"The model `{name}` does not exist")
    return model


@dataclass
class Completions:
    """The completions of one request: several of each prompt, in order."""

    route: Route
    asked: Asked
    begun: float  # on the clock of time.perf_counter
    id: str = field(default_factory=lambda: f"cmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))

    def __post_init__(self) -> None:
        if not completes(self.route.task):
            kind = self.route.task.name
            raise NoModel(f"The model `{self.route.model}` is for {kind}; it completes no prompts")
        self._prompts, self._each = self.asked.prompts, self.asked.n or 1
        self._parameters = [self._parameters_of(choice) for choice in range(self._each)]

    def _parameters_of(self, choice: int) -> Any:
        asked = self.asked
        told = {"max_tokens": MAX_TOKENS if asked.max_tokens is None else asked.max_tokens}
        told |= {
            name: value
            for name in ("temperature", "top_p", "stop")
            if (value := getattr(asked, name)) is not None
        }
        if asked.seed is not None:  # another for each: the same would give the same text
            told["seed"] = (asked.seed + choice + 2**63) % 2**64 - 2**63
        try:
            return msgspec.convert(told, self.route.task.parameters)
        except msgspec.ValidationError as error:
            found = PLACE.search(str(error))
            raise Invalid(str(error), [Problem(f"/{found[1]}", str(error))] if found else []) from None

    def examples(self) -> list[Example]:
        """What the network reads, one for each completion; raises `Invalid`."""
        task, found = self.route.task, []
        for prompt in self._prompts:
            instance = msgspec.convert({"prompt": prompt}, task.instance)
            found += [encode(self.route, [instance], one)[0] for one in self._parameters]
        return found

    async def whole(self, plane: Plane, examples: Sequence[Example], seconds: float) -> Json:
        """All completions, as one object."""
        asked = plane, self.route, examples, self._parameters[0], seconds, self.begun
        predictions, _ = await respond(*asked)
        choices = [
            self._choice(place, self._echo(place) + one["text"], one["finish_reason"])
            for place, one in enumerate(predictions)
        ]
        return self._object(choices) | {"usage": self._usage(examples, predictions)}

    async def chunks(self, plane: Plane, examples: Sequence[Example], seconds: float) -> AsyncGenerator[Json]:
        """The same object in pieces."""
        asked = plane, self.route, examples, self._parameters[0], seconds, self.begun
        usage = self.asked.stream_options is not None and self.asked.stream_options.include_usage
        more: Json = {"usage": None} if usage else {}
        begun: set[int] = set()
        async with aclosing(stream(*asked)) as events:
            async for event in events:
                if isinstance(event, Done):
                    if usage:
                        yield self._object([]) | {"usage": self._usage(examples, event.predictions)}
                    return
                place = event.place
                text = event.text if isinstance(event, Delta) else ""
                text, begun = text if place in begun else self._echo(place) + text, begun | {place}
                reason = event.finish_reason if isinstance(event, Ended) else None
                yield self._object([self._choice(place, text, reason)]) | more

    def _echo(self, place: int) -> str:
        return self._prompts[place // self._each] if self.asked.echo else ""

    def _choice(self, place: int, text: str, reason: str | None) -> Json:
        return {"text": text, "index": place, "logprobs": None, "finish_reason": reason}

    def _object(self, choices: list[Json]) -> Json:
        head = {"id": self.id, "object": "text_completion", "created": self.created}
        return head | {"model": self.asked.model, "choices": choices}

    def _usage(self, examples: Sequence[Example], predictions: Sequence[Json]) -> Json:
        """Tokens; a prompt counts once, without the mark that every text begins with."""
        read = sum(len(example.inputs) - 1 for example in examples[:: self._each])
        made = sum(one["tokens"] for one in predictions)
        return {"prompt_tokens": read, "completion_tokens": made, "total_tokens": read + made}
