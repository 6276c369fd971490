"""A call by curl, for a shell."""

import json
import shlex

from app.page.calls import ServiceCall
from app.page.snippets.bodies import FILE_NAME, without_files


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
