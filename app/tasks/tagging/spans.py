"""Entities in a sequence of tags: where each begins and ends, also where tags do not fit together."""

from dataclasses import dataclass

import numpy as np

from app.arrays import Array
from app.tasks.tagging.tag_schemes import TagSet, TokenRole


@dataclass(frozen=True)
class EntityMarks:
    """The entity of each token; the tokens of many sentences stand one after the other."""

    type_ids: Array  # (tokens,) the type of the entity that a token is in, 0 = none
    begins: Array  # (tokens,) whether a token is the first one of an entity
    ends: Array  # (tokens,) whether a token is the last one of an entity

    @classmethod
    def from_tags(cls, tags: TagSet, tag_ids: Array, starts: Array) -> "EntityMarks":
        """From tags (tokens,), and whether a token is the first one of its sentence (tokens,).

        The rules are those of conlleval and seqeval: an entity goes on while its type is the same and no tag
        says otherwise, so one may begin with `I`, as in the scheme IOB1, or end without its `E`.
        """
        type_ids, roles = tags.type_ids[tag_ids], tags.roles[tag_ids]
        inner = type_ids > 0
        previous_type, previous_role = np.roll(type_ids, 1), np.roll(roles, 1)  # of the token before
        separate = starts | (previous_type != type_ids)
        separate |= np.isin(previous_role, (TokenRole.END, TokenRole.SINGLE))
        separate |= np.isin(roles, (TokenRole.BEGIN, TokenRole.SINGLE))
        begins = inner & separate
        ends = inner & np.append((~inner | begins | starts)[1:], True)
        return cls(type_ids, begins, ends)

    @property
    def roles(self) -> Array:
        """The `TokenRole` of each token in its entity, (tokens,)."""
        first = np.where(self.ends, TokenRole.SINGLE, TokenRole.BEGIN)
        return np.where(self.begins, first, np.where(self.ends, TokenRole.END, TokenRole.INSIDE))

    def spans(self) -> Array:
        """The first token of each entity, the token after its last one, and its type, (entities, 3)."""
        starts, stops = np.flatnonzero(self.begins), np.flatnonzero(self.ends) + 1
        return np.stack([starts, stops, self.type_ids[starts]], axis=1)

    def map_types(self, mapping: Array) -> "EntityMarks":
        """The entities with the types `mapping[type]`; entities whose type becomes 0 are dropped."""
        type_ids = mapping[self.type_ids]
        return EntityMarks(type_ids, self.begins & (type_ids > 0), self.ends & (type_ids > 0))


def sentence_starts(offsets: Array) -> Array:
    """Whether a token is the first one of its sentence, (tokens,); no sentence is empty."""
    starts = np.zeros(offsets[-1], bool)
    starts[offsets[:-1]] = True
    return starts
