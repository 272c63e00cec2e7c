"""Who may import whom, and what an embedded host never loads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

EMBEDDED = """
import asyncio, sys, tempfile
from orion_core import Platform, Settings

async def main():
    async with Platform.load(settings=Settings(data_dir=tempfile.mkdtemp())) as orion:
        orion.asgi()

asyncio.run(main())
print(sorted({"pika", "redis", "asyncpg", "boto3", "obstore", "websockets"} & set(sys.modules)))
"""


def test_the_layers_hold() -> None:
    """The rules stand in pyproject.toml; a layer that knows what is above it cannot be used without it."""
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_an_embedded_host_loads_no_driver_of_a_server() -> None:
    """One process on SQLite must not pay for PostgreSQL, Redis and RabbitMQ."""
    done = subprocess.run(
        [sys.executable, "-c", EMBEDDED], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
