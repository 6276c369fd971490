"""The simulation of a fleet loses no job, and says what each operation costs."""

import os

import pytest

from app.database.engine import make_engine
from benchmarks.fleet.__main__ import cost_table, fleet_table, simulate
from benchmarks.fleet.costs import measure_costs
from benchmarks.fleet.server import fresh_database, server_cpu_seconds

JOBS = 30


@pytest.fixture
def server(postgresql: str) -> str:
    del postgresql  # skips where there is none
    return os.environ["RECURRA_TEST_DATABASE_URL"]


def test_every_job_of_a_small_fleet_succeeds_once(server: str) -> None:
    with fresh_database(server) as url:
        result = simulate(url, 6, JOBS, 0.05, 2)
    assert (result.succeeded, result.tally.leases_lost, result.tally.errors) == (JOBS, 0, 0)
    assert len(result.tally.seconds["claim"]) == len(result.tally.seconds["end"]) == JOBS
    assert f"{JOBS} of {JOBS}" in fleet_table(result, JOBS)


def test_each_operation_has_a_cost(server: str) -> None:
    with fresh_database(server) as url:
        engine = make_engine(url)
        assert server_cpu_seconds(engine) is not None
        costs = measure_costs(engine, 20, 5)
        engine.dispose()
    assert len({cost.name for cost in costs}) == len(costs) == 7
    assert all(cost.seconds > 0 for cost in costs)
    assert cost_table(costs).count("\n") == len(costs) + 1
