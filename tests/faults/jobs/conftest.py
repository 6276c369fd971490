"""Fixtures of the fault suite: services on both kinds of servers, and what undisturbed trainings make."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.faults.jobs.harness import Stack, stack
from tests.faults.jobs.twins import Twins

MakeStack = Callable[..., AbstractContextManager[Stack]]


def servers_of(kind: str) -> dict[str, str]:
    """The URLs for `stack`: those that the environment names, or none for the embedded kind."""
    if kind == "embedded":
        return {}
    named = {
        "database_url": os.environ.get("RECURRA_TEST_DATABASE_URL", ""),
        "redis_url": os.environ.get("RECURRA_TEST_REDIS_URL", ""),
    }
    if not all(named.values()):
        pytest.skip("RECURRA_TEST_DATABASE_URL and RECURRA_TEST_REDIS_URL are not set")
    return named


@pytest.fixture(params=["embedded", "servers"])
def make_stack(request: pytest.FixtureRequest, tmp_path: Path) -> MakeStack:
    """Makes a service, perhaps without a safeguard, on each kind of servers."""
    servers = servers_of(request.param)
    return lambda safeguard="": stack(tmp_path, safeguard, **servers)


@pytest.fixture
def make_embedded(tmp_path: Path) -> MakeStack:
    """The same on SQLite and a Valkey of its own, where the kind of servers does not matter."""
    return lambda safeguard="": stack(tmp_path, safeguard)


@pytest.fixture(scope="session")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twins]:
    with stack(tmp_path_factory.mktemp("twins")) as made:
        made.api()
        made.worker()
        yield Twins(made)
