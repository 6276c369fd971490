"""Entities in a text of tags: where each begins and ends, however well the tags fit together."""

from dataclasses import dataclass

import numpy as np

from app.tasks.contract import Array
from app.tasks.tagging.tag_schemes import BEGIN, END, INSIDE, SINGLE, TagSet


@dataclass(frozen=True)
class Segments:
    """Tokens of many sentences one after the other."""

    kinds: Array  # (tokens,) the type of the entity a token is in, 0 = none
    begins: Array  # (tokens,) whether it is an entity's first token
    ends: Array  # (tokens,) whether it is an entity's last token

    @classmethod
    def read(cls, tags: TagSet, numbers: Array, firsts: Array) -> "Segments":
        """From tags (tokens,), and which tokens are the first ones of sentences (tokens,).

        Read as conlleval and seqeval do: an entity goes on while its type is the same and no tag says
        otherwise, so one may begin with `I`, as in the scheme IOB1, or end without its `E`.
        """
        kinds, roles = tags.kinds[numbers], tags.roles[numbers]
        inner = kinds > 0
        before, role = np.roll(kinds, 1), np.roll(roles, 1)  # of the token before
        alone = firsts | (before != kinds) | np.isin(role, (END, SINGLE)) | np.isin(roles, (BEGIN, SINGLE))
        begins = inner & alone
        ends = inner & np.append((~inner | begins | firsts)[1:], True)
        return cls(kinds, begins, ends)

    @property
    def roles(self) -> Array:
        """What each token is in its entity (tokens,)."""
        return np.where(self.begins, np.where(self.ends, SINGLE, BEGIN), np.where(self.ends, END, INSIDE))

    def spans(self) -> Array:
        """Each entity's first token, the token behind its last one, and its type, (entities, 3)."""
        starts, stops = np.flatnonzero(self.begins), np.flatnonzero(self.ends) + 1
        return np.stack([starts, stops, self.kinds[starts]], axis=1)

    def mapped(self, kinds: Array) -> "Segments":
        """The same with other numbers of types; entities of a type that becomes 0 are gone."""
        found = kinds[self.kinds]
        return Segments(found, self.begins & (found > 0), self.ends & (found > 0))


def firsts_of(offsets: Array) -> Array:
    """Which tokens are the first ones of sentences with these offsets; none of them is empty."""
    found = np.zeros(offsets[-1], bool)
    found[offsets[:-1]] = True
    return found
