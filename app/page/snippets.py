"""A call as commands: for a shell, and for Python."""

import json
import shlex
from pprint import pformat

from app.page.calls import ServiceCall
from app.typedefs import Json

MAX_TEXT_CHARS = 2_000  # of a text in a body; files in base64 are longer
BASE64_SUFFIX = "_base64"
FILE_NAME = "FILE"


def curl(call: ServiceCall, url: str, *, keyed: bool) -> str:
    """The call by curl; files that were sent stand as `FILE`."""
    body, has_file = without_files(call.body)
    parts = ["curl -sS --fail-with-body"]
    if call.method not in ("GET", "POST"):
        parts.append(f"-X {call.method}")
    elif call.method == "POST" and call.body is None and call.form is None:
        parts.append("-X POST")
    parts.append(shlex.quote(url + call.path))
    if keyed:
        parts.append('-H "Authorization: Bearer $RECURRA_API_KEY"')
    for name, value in (call.form or {}).items():
        parts.append(f"-F {shlex.quote(f'{name}={value}')}")
    if call.form is not None:
        quoted = call.filename.replace("\\", "\\\\").replace('"', '\\"')  # as curl reads it
        parts.append("-F " + shlex.quote(f'file=@"{quoted}"'))
    rest = ""
    if body is not None:
        parts.append("-H 'Content-Type: application/json'")
        text = json.dumps(body, ensure_ascii=False)
        parts.append("-d @- <<'JSON'" if not has_file else "-d @- <<JSON")
        rest = f"\n{_expandable(text) if has_file else text}\nJSON"
    return " \\\n  ".join(parts) + rest


def _expandable(text: str) -> str:
    """JSON for a here-document in which the shell puts the content of a file, and nothing else."""
    for character in ("\\", "$", "`"):
        text = text.replace(character, f"\\{character}")
    return text.replace(f'"{FILE_NAME}"', f'"$(base64 -w0 {FILE_NAME})"')


def python(call: ServiceCall, url: str, *, keyed: bool) -> str:
    """The call by httpx, a library that Recurra's own client stands on."""
    body, has_file = without_files(call.body)
    lines = ["import base64"] if has_file else []
    lines += ["import os"] if keyed else []
    lines += ["import httpx", ""]
    headers = ', headers={"Authorization": f"Bearer {os.environ[\'RECURRA_API_KEY\']}"}' if keyed else ""
    lines.append(f'client = httpx.Client(base_url="{url}"{headers}, timeout=60)')
    arguments = [repr(call.path)]
    if call.form is not None:
        arguments += [f"data={call.form!r}", f"files={{'file': open({call.filename!r}, 'rb')}}"]
    if body is not None:
        text = pformat(body, width=100, sort_dicts=False, compact=True)
        if has_file:
            text = text.replace(
                f"'{FILE_NAME}'", f"base64.b64encode(open('{FILE_NAME}', 'rb').read()).decode()"
            )
        arguments.append(f"json={text}")
    lines.append(f"answer = client.{call.method.lower()}({', '.join(arguments)})")
    lines.append(
        "print(answer.raise_for_status().json())" if call.method != "DELETE" else "answer.raise_for_status()"
    )
    return "\n".join(lines)


def without_files(body: Json | None) -> tuple[Json | None, bool]:
    """A body in which contents of files are replaced by a name, and whether there were any."""
    if body is None:
        return None, False
    replaced = False

    def replace(name: str, value: object) -> object:
        nonlocal replaced
        if isinstance(value, dict):
            return {inner: replace(inner, content) for inner, content in value.items()}
        if isinstance(value, list):
            return [replace(name, inner) for inner in value]
        if isinstance(value, str) and name.endswith(BASE64_SUFFIX):
            replaced = True
            return FILE_NAME
        return value[:MAX_TEXT_CHARS] if isinstance(value, str) else value

    shown = {name: replace(name, value) for name, value in body.items()}
    return shown, replaced
