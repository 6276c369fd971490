"""A deliberate fault: a piece of the code, and what stands there instead."""

from dataclasses import dataclass
from pathlib import Path


class StaleMutation(Exception):
    """The code that a fault changes is not there, or not only once, so that it would prove nothing."""


@dataclass(frozen=True)
class Mutation:
    """A fault in one file, and the tests of which one at least has to fail with it."""

    name: str  # what the code does wrong
    path: str  # from the root of the repository
    old: str
    new: str
    tests: tuple[str, ...]  # arguments of pytest: files, folders, or functions of a file

    def mutated(self, root: Path) -> str:
        """Return the file's text with the fault; raises `StaleMutation`."""
        try:
            text = (root / self.path).read_text()
        except FileNotFoundError:
            raise StaleMutation(f"{self.name}: there is no {self.path}") from None
        if (count := text.count(self.old)) != 1:
            raise StaleMutation(f"{self.name}: {self.path} has {count} times, not once: {self.old!r}")
        if self.new == self.old:
            raise StaleMutation(f"{self.name}: it changes nothing")
        mutated = text.replace(self.old, self.new)
        try:
            compile(mutated, self.path, "exec")
        except SyntaxError as error:
            raise StaleMutation(f"{self.name}: {self.path} would not even compile: {error}") from None
        return mutated
