"""What a run of chaos is told from outside."""

from __future__ import annotations

import os
import random

import pytest


@pytest.fixture
def kills() -> int:
    """How many processes are killed: `ORION_TEST_KILLS`, 10 unless set, 100 in the full run."""
    return int(os.environ.get("ORION_TEST_KILLS", "10"))


@pytest.fixture
def seed() -> int:
    """What decides who is killed and when: `ORION_TEST_SEED` repeats a run, as far as machines allow."""
    return int(os.environ.get("ORION_TEST_SEED") or random.SystemRandom().randrange(10**6))
