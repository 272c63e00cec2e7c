"""Every async test of the project runs in an event loop of its own, with or without a platform."""

from __future__ import annotations

import asyncio

import pytest


@pytest.fixture(autouse=True)
def _loop(orion_runner: asyncio.Runner) -> None:
    """Ask for the loop in every test."""
