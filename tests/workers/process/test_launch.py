"""A child's environment: what it takes to compute, and nothing by which it could reach the service's data."""

import json
import sys

import pytest

from workers.process.launch import CHILD_ENVIRONMENT, SpawnedProcess

SECRETS = {
    "RECURRA_DATABASE_URL": "postgresql://user:secret@host/db",
    "RECURRA_REDIS_URL": "redis://:secret@host",
    "RECURRA_STORAGE_URL": "s3://bucket",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "PGPASSWORD": "secret",
    "SOME_TOKEN": "secret",
}
NEEDED = {"CUDA_VISIBLE_DEVICES": "1", "PYTHONSAFEPATH": "1", "RECURRA_LOG_LEVEL": "DEBUG", "TZ": "UTC"}


def test_a_child_inherits_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (SECRETS | NEEDED).items():
        monkeypatch.setenv(name, value)
    process = SpawnedProcess((sys.executable, "-c", "import json, os; print(json.dumps(dict(os.environ)))"))
    environment = json.loads(process.stdout.read())
    assert process.wait(10)
    assert not SECRETS.keys() & environment.keys()
    assert (NEEDED | CHILD_ENVIRONMENT).items() <= environment.items()
    for pipe in (process.stdin, process.stdout):
        pipe.close()
