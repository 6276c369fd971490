"""A call in Python, by the package `recurra`, as somebody would write it who has a notebook open."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from keyword import iskeyword
from pprint import pformat
from typing import Any
from urllib.parse import parse_qsl, unquote

from app.page.calls import STANDARD_ALIAS, ServiceCall
from app.page.snippets.bodies import BASE64_SUFFIX, FILE_NAME, without_files
from app.typedefs import Json

MAX_WIDTH = 96  # of a line
INDENT = "    "
KEY_NOTE = "  # with the key that is in RECURRA_API_KEY"
TEXT_FIELDS = ("text", "prompt")  # of instances that may be a text alone
# Keywords of `train` and `predict` that are no options and no parameters of a task.
OWN_KEYWORDS = {
    "data", "answers", "task", "model", "network", "training", "metadata", "columns", "name", "progress",
    "version", "alias", "deadline_seconds",
}  # fmt: skip
JOB_FIELDS = {"task", "dataset", "model", "network", "training", "options"}
EVALUATION_FIELDS = {"dataset", "versions", "windows", "step", "refit", "baselines"}
DATASET_ID = re.compile(r"ds_\w+")
FILE_CONTENT = re.compile(rf"({BASE64_SUFFIX}': )'{FILE_NAME}'")
READ_FILE = rf"\1base64.b64encode(open('{FILE_NAME}', 'rb').read()).decode()"


@dataclass(frozen=True)
class _Request:
    """A call in parts: what its path names, its query, and its body without files."""

    call: ServiceCall
    names: tuple[str, ...]
    which: Json
    body: Json


Lines = list[str]
Write = Callable[[_Request], Lines | None]  # None: the package has no such method for it


def python(call: ServiceCall, url: str, *, keyed: bool) -> str:
    """The call by `recurra`; a file that was sent stands as `FILE`."""
    text = FILE_CONTENT.sub(READ_FILE, "\n".join(_statements(call)))
    imports = ["import base64", "import recurra"] if "base64.b64encode" in text else ["import recurra"]
    client = f"client = recurra.Client({url!r}){KEY_NOTE if keyed else ''}"
    return "\n".join([*imports, "", client, text])


def _statements(call: ServiceCall) -> Lines:
    body, _ = without_files(call.body)
    path, _, query = call.path.partition("?")
    which = {name: int(value) if value.isdigit() else value for name, value in parse_qsl(query)}
    for method, pattern, write in _WRITERS:
        if method == call.method and (match := re.fullmatch(pattern, path)):
            names = tuple(unquote(name) for name in match.groups())
            if (lines := write(_Request(call, names, which, body or {}))) is not None:
                return lines
    return [_called("client.send", call.method, call.path, **({} if body is None else {"json": body}))]


def _upload(request: _Request) -> Lines:
    form: dict[str, Any] = dict(request.call.form or {})
    if form.get("name") == request.call.filename:
        del form["name"]
    if "columns" in form:
        form["columns"] = json.loads(form["columns"])
    made = _called("client.add_dataset", request.call.filename, **form)
    return [f"dataset = {made}", "print(dataset.summary)"]


def _training(request: _Request) -> Lines | None:
    body, options = request.body, request.body.get("options", {})
    if not (body.keys() <= JOB_FIELDS and _are_keywords(options)):
        return None
    named = {name: value for name, value in body.items() if name not in ("dataset", "options")}
    trained = _called("client.train", body["dataset"], **named, **options)
    return [f"model = {trained}", "print(model.version().comparison())"]


def _sweep(request: _Request) -> Lines:
    return [f"sweep = {_called('client.sweep', request.body)}", 'print(client.job(sweep["id"]).wait())']


def _prediction(request: _Request) -> Lines | None:
    (name,), parameters = request.names, request.body.get("parameters", {})
    if len(request.body.get("instances", ())) != 1 or not _are_keywords(parameters):
        return None
    data = _plain(request.body["instances"][0])
    answer = _called("model.predict", *([] if data == {} else [data]), **parameters)
    return [f"model = {_called('client.model', name, **request.which)}", f"print({answer})"]


def _explanation(request: _Request) -> Lines | None:
    if len(request.body.get("instances", ())) != 1:
        return None
    more = {name: value for name, value in request.body.items() if name != "instances"} | request.which
    method = f"client.model({request.names[0]!r}).explain"
    return [f"explanation = {_called(method, request.body['instances'][0], **more)}", "print(explanation)"]


def _evaluation(request: _Request) -> Lines | None:
    if not request.body.keys() <= EVALUATION_FIELDS:
        return None
    more = {name: value for name, value in request.body.items() if name != "dataset"}
    method = f"client.model({request.names[0]!r}).evaluate"
    return [f"print({_called(method, request.body['dataset'], **more)})"]


def _batch(request: _Request) -> Lines | None:
    if request.body.keys() != {"dataset"}:
        return None
    method = f"client.model({request.names[0]!r}).predict_dataset"
    job = _called(method, request.body["dataset"], **request.which)
    return [f"job = {job}.wait()", "print(job.result()[0])  # there is a line for each example"]


def _promotion(request: _Request) -> Lines:
    (name, alias), body = request.names, request.body
    shares = {int(number): share for number, share in body.get("versions", {}).items()}
    target = [] if shares else [body["version"]]
    named: Json = {} if alias == STANDARD_ALIAS else {"alias": alias}
    named |= {"shares": shares} if shares else {}
    named |= {part: value for part, value in body.items() if part not in ("version", "versions")}
    return [_called(f"client.model({name!r}).promote", *target, **named)]


def _deletion(request: _Request) -> Lines:
    kind, name = request.names
    return [f"client.{kind.removesuffix('s')}({name!r}).delete()"]


def _control(request: _Request) -> Lines:
    name, verb = request.names
    return [f"client.job({name!r}).{verb}()"]


_WRITERS: tuple[tuple[str, str, Write], ...] = (
    ("POST", r"/v1/datasets", _upload),
    ("POST", r"/v1/jobs", _training),
    ("POST", r"/v1/sweeps", _sweep),
    ("POST", r"/v1/models/([^/]+)/predict", _prediction),
    ("POST", r"/v1/models/([^/]+)/explain", _explanation),
    ("POST", r"/v1/models/([^/]+)/evaluations", _evaluation),
    ("POST", r"/v1/models/([^/]+)/batch-predictions", _batch),
    ("PUT", r"/v1/models/([^/]+)/aliases/([^/]+)", _promotion),
    ("DELETE", r"/v1/(datasets|jobs)/([^/]+)", _deletion),
    ("POST", r"/v1/jobs/([^/]+)/(cancel|pause|resume)", _control),
)


def _plain(instance: Any) -> Any:
    """An instance as people pass it: a text, a file's name or a list of numbers alone."""
    if not isinstance(instance, dict) or len(instance) != 1:
        return instance
    ((field, value),) = instance.items()
    is_text = field in TEXT_FIELDS and isinstance(value, str) and not DATASET_ID.fullmatch(value)
    is_series = field == "values" and not any(isinstance(step, list) for step in value)
    return value if is_text or is_series or field.endswith(BASE64_SUFFIX) else instance


def _are_keywords(values: Mapping[str, Any]) -> bool:
    """Whether names can be passed as keywords, beside those that a method has itself."""
    return all(name.isidentifier() and not iskeyword(name) and name not in OWN_KEYWORDS for name in values)


def _called(function: str, /, *arguments: Any, **named: Any) -> str:
    """A call, on one line if it fits."""
    parts = [repr(value) for value in arguments] + [f"{name}={value!r}" for name, value in named.items()]
    line = f"{function}({', '.join(parts)})"
    if len(line) <= MAX_WIDTH:
        return line
    parts = [_wrapped("", value) for value in arguments]
    parts += [_wrapped(f"{name}=", value) for name, value in named.items()]
    return f"{function}(\n" + "".join(f"{INDENT}{part},\n" for part in parts) + ")"


def _wrapped(prefix: str, value: Any) -> str:
    text = pformat(value, width=MAX_WIDTH - len(prefix), sort_dicts=False, compact=True)
    return prefix + text.replace("\n", f"\n{INDENT}{' ' * len(prefix)}")
