"""Where tests find PostgreSQL, Redis and RabbitMQ.

`ORION_TEST_POSTGRES_URL`, `ORION_TEST_REDIS_URL` and `ORION_TEST_AMQP_URL` name them. A test that needs a server which
cannot be reached is skipped with the reason, or fails when `ORION_TEST_SERVICES=require`.
"""

from __future__ import annotations

import functools
import os
import socket
from urllib.parse import urlsplit

import pytest

_DEFAULTS = {
    "postgres": "postgresql://postgres@127.0.0.1:5432/postgres",
    "redis": "redis://127.0.0.1:6379/0",
    "amqp": "amqp://guest:guest@127.0.0.1:5672/%2F",
}


@functools.cache
def _unreachable(url: str) -> str:
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname or "", parts.port or 0), timeout=2).close()
    except OSError as error:
        return f"no server at {parts.hostname}:{parts.port} ({error})"
    return ""


def _service(name: str) -> str:
    variable = f"ORION_TEST_{name.upper()}_URL"
    url = os.environ.get(variable, _DEFAULTS[name])
    if reason := _unreachable(url):
        message = f"needs {name}: {reason}; set {variable}"
        if os.environ.get("ORION_TEST_SERVICES") == "require":
            pytest.fail(message, pytrace=False)
        pytest.skip(message)
    return url


def postgres_url() -> str:
    """The URL of a PostgreSQL server on which databases may be created; skips the test when it is away."""
    return _service("postgres")


def redis_url() -> str:
    """The URL of a Redis server; skips the test when it is away."""
    return _service("redis")


def amqp_url() -> str:
    """The URL of a RabbitMQ server; skips the test when it is away."""
    return _service("amqp")
