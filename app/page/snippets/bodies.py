"""Bodies of calls without the contents of files."""

from app.typedefs import Json

BASE64_SUFFIX = "_base64"
FILE_NAME = "FILE"  # what stands for a file that was sent


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
        return value

    shown = {name: replace(name, value) for name, value in body.items()}
    return shown, replaced
