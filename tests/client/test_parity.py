"""Whatever the blocking objects can do, the asynchronous ones can do too, with the same arguments."""

import inspect
import re

import pytest

import recurra
from recurra import objects


def methods(kind: type) -> dict[str, str]:
    """Public methods with their signatures, in the words of the blocking ones."""
    named = {}
    for name, method in inspect.getmembers(kind, inspect.isfunction):
        if not name.startswith("_") and name != "close":
            text = str(inspect.signature(method)).replace("AsyncBase", "Base").replace("Async", "")
            text = re.sub(r"recurra\.objects\.(async_)?", "", text)
            named[name] = text.replace("collections.abc.Generator", "collections.abc.Iterator")
    return named


@pytest.mark.parametrize("name", ["Client", "Model", "Version", "Job", "Dataset"])
def test_both_have_the_same_methods(name: str) -> None:
    one, other = getattr(recurra, name), getattr(recurra, f"Async{name}")
    assert methods(one) == methods(other)
    assert inspect.getdoc(one.__mro__[0]) is not None


@pytest.mark.parametrize("name", ["Client", "Model", "Version", "Job", "Dataset"])
def test_what_waits_is_awaited(name: str) -> None:
    own = vars(getattr(recurra, f"Async{name}"))
    public = {key: value for key, value in own.items() if inspect.isfunction(value) and key[0] != "_"}
    assert public
    for key, method in public.items():
        assert inspect.iscoroutinefunction(method) or "Generator" in str(inspect.signature(method)), key


def test_every_public_name_is_there() -> None:
    assert [name for name in recurra.__all__ if not hasattr(recurra, name)] == []
    assert objects.__doc__
