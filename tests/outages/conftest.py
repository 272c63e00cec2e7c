"""A deployment for all outages of a file, and how long they last."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from deployment import Deployment, Fault

from orion_core.testing.processes import Processes
from orion_core.testing.services import amqp_url, postgres_url, redis_url

# The load and the invariants are those of the runs in which processes are killed.
sys.path.insert(0, str(Path(__file__).parents[1] / "chaos"))


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """One process per service, started once for all tests of a file."""
    processes = Processes(tmp_path_factory.mktemp("outages"), start=False)
    with (
        Fault(amqp_url(), 5672) as broker,
        Fault(redis_url(), 6379) as cache,
        Fault(postgres_url(), 5432) as database,
        Fault(postgres_url(), 5432) as users_database,
        processes,
    ):
        env = processes.env
        env["ORION_BUS_URL"] = broker.through(env["ORION_BUS_URL"])
        env["ORION_CACHE_URL"] = cache.through(env["ORION_CACHE_URL"])
        env["ORION_USERS_DATABASE_URL"] = users_database.through(f"{processes.database_url}?schema=users")
        env["ORION_DATABASE_URL"] = database.through(env["ORION_DATABASE_URL"])
        processes.start(*processes.plugins)
        yield Deployment(processes, broker, cache, database, users_database)


@pytest.fixture
def seconds() -> float:
    """How long an outage lasts: `ORION_TEST_OUTAGE_SECONDS`, 4 unless set, 30 in the full run."""
    return float(os.environ.get("ORION_TEST_OUTAGE_SECONDS", "4"))
