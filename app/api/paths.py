"""Paths and methods of the service: the methods of a path, and the path that was probably meant."""

import re
from collections.abc import Iterator
from difflib import SequenceMatcher

from app.typedefs import Json

MIN_PATH_SIMILARITY = 0.7  # of a path to the one it is taken for
MIN_STEP_SIMILARITY = 0.8
LONGER_WORD_SIMILARITY = 0.95
MIN_WORD_CHARS = 5  # of a name that longer words are taken for
SAME_END_BONUS = 0.15  # the last step says most about what is wanted
MAX_HINT_CHARS = 300  # of a path that hints are looked up for
METHODS = ("get", "post", "put", "patch", "delete")
PARAMETER = re.compile(r"{\w+}")
UNDOCUMENTED: Json = {"/docs": {"get": {}}, "/openapi.json": {"get": {}}}


class PathIndex:
    """The paths of an OpenAPI document."""

    def __init__(self, document: Json) -> None:
        self._methods = {
            template: [method.upper() for method in METHODS if method in operations]
            for template, operations in (document["paths"] | UNDOCUMENTED).items()
        }
        self._patterns = {
            template: re.compile(PARAMETER.sub("[^/]+", template)) for template in self._methods
        }

    def allowed_methods(self, path: str) -> list[str]:
        """The methods that a path takes; none for an unknown path."""
        allowed = dict[str, None]()
        for template in self._matching(path):
            allowed |= dict.fromkeys(self._methods[template])
        if "GET" in allowed:
            allowed["HEAD"] = None
        return list(allowed)

    def hint(self, path: str) -> str | None:
        """The documented path that is most like an unknown one, with its methods; None if none is.

        Of two that are as like, the shorter one.
        """
        if len(path) > MAX_HINT_CHARS:
            return None
        steps = path.strip("/").replace(":", "/").split("/")  # others write `models/{name}:predict`
        similarities = {template: _similarity(steps, template) for template in self._methods}
        best = max(similarities, key=lambda one: (similarities[one], -one.count("/")), default="")
        if not best or similarities[best] < MIN_PATH_SIMILARITY:
            return None
        return f"{' or '.join(self._methods[best])} {best}"

    def _matching(self, path: str) -> Iterator[str]:
        return (template for template, pattern in self._patterns.items() if pattern.fullmatch(path))


def _similarity(steps: list[str], template: str) -> float:
    """How like a path is to a template: more than 1 for one that lacks only the template's beginning."""
    names = template.strip("/").split("/")
    missing = len(names) - len(steps)
    if missing >= 0 and steps[0] == names[missing] and _literal_similarity(steps, names[missing:]) == 1:
        return 1 + 1 / (1 + missing)
    like = _plain(steps, names)
    shared = sum(block.size for block in SequenceMatcher(None, like, names).get_matching_blocks())
    close = _literal_similarity(steps, names) if missing == 0 else 0.0
    return max(2 * shared / (len(steps) + len(names)), close) + SAME_END_BONUS * (steps[-1] == names[-1])


def _plain(steps: list[str], names: list[str]) -> list[str]:
    """The steps of a path, with the template's parameters in place of what the template does not name."""
    return [
        names[index] if index < len(names) and PARAMETER.fullmatch(names[index]) else step
        for index, step in enumerate(steps)
    ]


def _literal_similarity(steps: list[str], names: list[str]) -> float:
    """The mean similarity of the steps to the names that are no parameters; 0 if one is not like its name."""
    ratios = [
        _step_similarity(step.lower(), name)
        for step, name in zip(steps, names, strict=True)
        if not PARAMETER.fullmatch(name)
    ]
    return sum(ratios) / len(ratios) if ratios and min(ratios) >= MIN_STEP_SIMILARITY else 0.0


def _step_similarity(step: str, name: str) -> float:
    """How like a step is to a name; a longer form of a word, such as "predictions", is like the word."""
    if step != name and len(name) >= MIN_WORD_CHARS and step.startswith(name):
        return LONGER_WORD_SIMILARITY
    return SequenceMatcher(None, step, name).ratio()
