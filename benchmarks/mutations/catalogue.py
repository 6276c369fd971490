"""All deliberate faults."""

from collections.abc import Sequence

from benchmarks.mutations.backups import BACKUP_FAULTS
from benchmarks.mutations.explanations import EXPLANATION_FAULTS
from benchmarks.mutations.keys import KEY_FAULTS
from benchmarks.mutations.lanes import LANE_FAULTS
from benchmarks.mutations.leases import LEASE_FAULTS
from benchmarks.mutations.limits import LIMIT_FAULTS
from benchmarks.mutations.mutation import Mutation
from benchmarks.mutations.ownership import OWNERSHIP_FAULTS
from benchmarks.mutations.resume import RESUME_FAULTS
from benchmarks.mutations.scoring import SCORING_FAULTS

MUTATIONS: tuple[Mutation, ...] = (
    *LEASE_FAULTS, *LANE_FAULTS, *RESUME_FAULTS, *LIMIT_FAULTS, *OWNERSHIP_FAULTS, *BACKUP_FAULTS,
    *SCORING_FAULTS, *KEY_FAULTS, *EXPLANATION_FAULTS,
)  # fmt: skip


def select(mutations: Sequence[Mutation], part: str) -> list[Mutation]:
    """Return those with `part` in their name or path."""
    return [mutation for mutation in mutations if part in mutation.name or part in mutation.path]
