"""Print what pyproject.toml files require, one a line, so that an image has it in a layer below the sources.

`python requirements.py --extra worker,tracking pyproject.toml ...`: the dependencies of all files together,
with those of the named extras, without the projects themselves. `--build` prints what builds them instead.
"""

import argparse
import re
import tomllib
from pathlib import Path
from typing import Any


def project_name(requirement: str) -> str:
    """The project of a requirement, as names are compared: `Foo_bar[x]>=1` is of `foo-bar`."""
    name = re.split(r"[\s\[<>=!~;@]", requirement, maxsplit=1)[0]
    return re.sub(r"[-_.]+", "-", name).lower()


def requirements(documents: list[dict[str, Any]], extras: str = "", *, build: bool = False) -> list[str]:
    """The requirements of parsed pyproject.toml files, each once, without what these files make."""
    own = {project_name(document["project"]["name"]) for document in documents}
    lines: list[str] = []
    for document in documents:
        project = document["project"]
        if build:
            lines += document["build-system"]["requires"]
        else:
            lines += project.get("dependencies", [])
            optional = project.get("optional-dependencies", {})
            lines += [line for extra in extras.split(",") for line in optional.get(extra, [])]
    return [line for line in dict.fromkeys(lines) if project_name(line) not in own]


def main() -> None:
    """Print the requirements of the files that the command line names."""
    parser = argparse.ArgumentParser(description="Print what pyproject.toml files require.")
    parser.add_argument("--extra", default="", help="of whose requirements too, with commas between several")
    parser.add_argument("--build", action="store_true", help="print what builds the projects")
    parser.add_argument("files", nargs="+", type=Path)
    options = parser.parse_args()
    documents = [tomllib.loads(path.read_text()) for path in options.files]
    print(*requirements(documents, options.extra, build=options.build), sep="\n")


if __name__ == "__main__":
    main()
