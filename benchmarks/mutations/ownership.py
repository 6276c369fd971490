"""Faults in what cleanups may delete, and in whose a store is."""

from benchmarks.mutations.mutation import Mutation

OWNERSHIP = "app/services/maintenance/ownership.py"
CLEANUP = "app/services/maintenance/cleanup.py"
CLEANUP_TESTS = ("tests/app/services/maintenance/test_cleanup.py",)

OWNERSHIP_FAULTS = (
    Mutation(
        "the store of another installation is cleaned", OWNERSHIP,
        "return Owner.THIS if row.id == mark.installation else Owner.ANOTHER", "return Owner.THIS",
        CLEANUP_TESTS,
    ),
    Mutation(
        "the store of another installation is claimed", OWNERSHIP,
        "if mark is not None and mark.installation != row.id and row.marks:", "if False:", CLEANUP_TESTS,
    ),
    Mutation(
        "a restored database is not noticed", OWNERSHIP,
        "        if mark is not None and mark.number > row.marks:\n", "        if False:\n", CLEANUP_TESTS,
    ),
    Mutation(
        "what is newer than a restored database is deleted", CLEANUP,
        "return [group for group in orphans if not group.stored_within(spans)]", "return orphans",
        CLEANUP_TESTS,
    ),
    Mutation(
        "files that are just being written are deleted", CLEANUP,
        "if max(files[key].modified for key in keys[prefix]) <= before", "if True", CLEANUP_TESTS,
    ),
    Mutation(
        "one old file of a group is enough to delete it", CLEANUP,
        "if max(files[key].modified", "if min(files[key].modified", CLEANUP_TESTS,
    ),
    Mutation(
        "the artifact of a version is deleted", CLEANUP,
        "group.prefix not in needed and not _is_needed", "not _is_needed", CLEANUP_TESTS,
    ),
    Mutation(
        "the artifact of a run is deleted before its sweep ends", CLEANUP,
        "return stored or self.may_run(attempt)", "return self.may_run(attempt)", CLEANUP_TESTS,
    ),
    Mutation(
        "checkpoints of live jobs are deleted", CLEANUP,
        "return root == CHECKPOINTS_ROOT and job.status in LIVE",
        "return root == CHECKPOINTS_ROOT and job.status == Status.RUNNING", CLEANUP_TESTS,
    ),
)  # fmt: skip
