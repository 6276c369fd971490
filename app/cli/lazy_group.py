"""A group of commands whose modules are imported when they are needed: help and shells ask often."""

import importlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import typer
from typer.core import TyperGroup
from typer.main import get_command, get_group


class LazyCommand(NamedTuple):
    """A command or group: its name, the `module:attribute` that holds it, and its line in the help."""

    name: str
    location: str
    summary: str


class LazyGroup(TyperGroup):
    """The commands named by `members`, in that order; each is imported when it is looked up."""

    members: ClassVar[Sequence[LazyCommand]] = ()

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = _Commands(self.members)  # type: ignore[assignment]

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names, without an import."""
        return list(self.commands)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - click's signature
        """Write the list of commands, without an import."""
        with formatter.section("Commands"):
            formatter.write_dl([(member.name, member.summary) for member in self.members])


class _Commands(Mapping[str, Any]):
    def __init__(self, members: Sequence[LazyCommand]) -> None:
        self._members = {member.name: member for member in members}
        self._imported: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._imported:
            self._imported[name] = _import(self._members[name])
        return self._imported[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)


def _import(member: LazyCommand) -> Any:
    module, _, attribute = member.location.partition(":")
    target = getattr(importlib.import_module(module), attribute)
    if isinstance(target, typer.Typer):
        command: Any = get_group(target)
    else:
        single = typer.Typer(add_completion=False, rich_markup_mode=None)
        single.command()(target)
        command = get_command(single)
    command.name = member.name
    return command
