"""Unknown names in requests: the nearest known one, and the place where a name belongs."""

import re
from collections.abc import Collection, Mapping
from difflib import get_close_matches

MIN_SIMILARITY = 0.7
MAX_NAMES_SHOWN = 30


def nearest_name(name: str, known: Collection[str]) -> str | None:
    """The known name that was probably meant; None if none is like it."""
    spellings = {_spelling(one): one for one in known}
    matches = get_close_matches(_spelling(name), spellings, n=1, cutoff=MIN_SIMILARITY)
    return spellings[matches[0]] if matches else None


def unknown_name(
    kind: str, name: str, known: Collection[str], elsewhere: Mapping[str, Collection[str]] | None = None
) -> str:
    """A sentence about an unknown `kind`, such as "field": where it belongs, or what was probably meant.

    `known` are the names in its place, `elsewhere` those in other places of the request.
    """
    shown = name if len(name) <= MAX_NAMES_SHOWN else name[:MAX_NAMES_SHOWN] + "…"
    places = [place for place, names in (elsewhere or {}).items() if name in names]
    if places:
        return f"unknown {kind} here: {shown} belongs in {' or '.join(places)}"
    if (near := nearest_name(name, known)) is not None:
        return f"unknown {kind} {shown}; did you mean {near}?"
    for place, names in (elsewhere or {}).items():
        if (near := nearest_name(name, names)) is not None:
            return f"unknown {kind} {shown}; did you mean {near} in {place}?"
    choices = f"; there {'is' if len(known) == 1 else 'are'} {', '.join(known)}" if known else ""
    return f"unknown {kind} {shown}{choices}"


def _spelling(name: str) -> str:
    """A name without the differences between ways of writing: `maxTokens`, `Max-Tokens` and `max_tokens`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[-. ]", "_", name).lower()
