"""A database of a service's own, for services that a test builds by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from orion_core.testing.databases import postgres_database


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path, orion_runner: asyncio.Runner) -> Iterator[str]:
    """The URL of an empty database, once of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/{{service}}.db"
        return
    database = postgres_database()
    url = orion_runner.run(database.__aenter__())
    try:
        yield url
    finally:
        orion_runner.run(database.__aexit__(None, None, None))
