"""What a new installation has, and what time does to it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from auth_by_hand import ADA, PASSWORD, auth

from orion_core.contracts.auth import Login
from orion_core.testing.clock import MovableClock
from orion_core.testing.engines import rows


async def test_a_new_installation_has_no_account(tmp_path: Path) -> None:
    """A53: ASVS 6.3.2."""
    async with auth(tmp_path) as service:
        assert await rows(service.db, "SELECT id FROM users") == []


async def test_a_password_does_not_expire(tmp_path: Path) -> None:
    """A4: ASVS 6.2.10."""
    async with auth(tmp_path) as service:
        account = await service.register(ADA)
        assert isinstance(service.clock, MovableClock)
        service.clock.advance(timedelta(days=3650))

        assert (await service.login(Login(ADA.email, PASSWORD))).user.id == account.id
