"""Faults in backups and restores."""

from benchmarks.mutations.mutation import Mutation

STORAGE = "app/infrastructure/storage.py"
ROWS = "app/database/rows.py"
BACKUP = "app/services/maintenance/backup.py"
BACKUP_DIRECTORY = "app/services/maintenance/backup_directory.py"
RESTORE = "app/services/maintenance/restore.py"
BACKUP_TESTS = ("tests/app/services/maintenance/test_backup.py",)

BACKUP_FAULTS = (
    Mutation(
        "files are deleted while a backup is made", STORAGE,
        "return bool(holds) and", "return False and", BACKUP_TESTS,
    ),
    Mutation(
        "a hold of a process that died lasts for ever", STORAGE,
        "for hold in holds.values()) < HOLD_SECONDS", "for hold in holds.values()) < 1e9", BACKUP_TESTS,
    ),
    Mutation(
        "tables of a backup are read one after the other, not at one moment", ROWS,
        'isolation_level="REPEATABLE READ"', 'isolation_level="READ COMMITTED"', BACKUP_TESTS,
    ),
    Mutation(
        "a backup whose hold lapsed is taken for whole", BACKUP,
        "            hold.check()\n", "", BACKUP_TESTS,
    ),
    Mutation(
        "an altered backup is restored", BACKUP_DIRECTORY,
        "    if actual != sha256:", "    if False:", BACKUP_TESTS,
    ),
    Mutation(
        "a key outside of the store is restored", BACKUP_DIRECTORY,
        "            if not is_stored_key(file.key):", "            if False:", BACKUP_TESTS,
    ),
    Mutation(
        "a filled database is restored to", RESTORE,
        "if filled and (marked is None or not _has_rows(connection, manifest)):", "if False:", BACKUP_TESTS,
    ),
    Mutation(
        "two installations have one id", RESTORE,
        'installation = new_id("ins") if mark is None else mark.installation',
        "installation = manifest.installation or new_id('ins')", BACKUP_TESTS,
    ),
    Mutation(
        "a job that ran is charged for the restore", RESTORE, "crashed=False", "crashed=True", BACKUP_TESTS
    ),
)  # fmt: skip
