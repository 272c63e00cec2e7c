"""Acting as somebody else: with a permission, a reason, an end, and on the record."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import attrs
import pytest
from audit_kit import ADA, BOTH, PASSWORD, auth_on, claims, entries, person

from orion_core.context import ANONYMOUS, SYSTEM, Actor, acting
from orion_core.contracts.auth import Access, Register, SessionRevoked, SessionStarted, Tokens
from orion_core.contracts.auth_access import NoSuchAccount
from orion_core.contracts.auth_impersonation import (
    Impersonate,
    Impersonation,
    NoSuchImpersonation,
    NotImpersonable,
)
from orion_core.errors import Error, Forbidden, Invalid, Unauthenticated
from orion_core.testing.engines import rows, told
from orion_plugins.auth.holdings import Holder, Holdings
from orion_plugins.auth.impersonation import may_impersonate
from orion_plugins.auth.service import AuthService
from orion_plugins.auth.settings import AuthSettings

WHY = Impersonate("ticket 4711: cannot find the invoice")


async def admin_of(service: AuthService, email: str = "grace@x.org") -> Actor:
    with acting(SYSTEM):
        account = await service.create_admin(Register(email, PASSWORD))
    return Actor("user", str(account.id), session=str(uuid4()), roles=("admin",), permissions=("*",))


async def begun(service: AuthService, admin: Actor, user_id: UUID) -> Impersonation:
    with acting(admin):
        return await service.impersonate(user_id, WHY)


async def access(service: AuthService, token: str) -> Access:
    found = claims(token)
    with acting(Actor("service", "identity")):
        return await service.access(UUID(found["sid"]), found["ver"])


def acting_as(tokens: Tokens, admin: Actor) -> Actor:
    return attrs.evolve(person(tokens), impersonator=admin.id)


PROMOTE = """
INSERT INTO auth_role_holders (id, user_id, role, created_at)
SELECT id, id, 'admin', created_at FROM users WHERE email = 'ada@x.org'
"""


@BOTH
async def test_the_token_names_both_and_ends_after_an_hour(database: str, tmp_path: Path) -> None:
    """A61."""
    async with auth_on(database, tmp_path) as service:
        tokens, admin = await service.sign_up(ADA), await admin_of(service)
        made = await begun(service, admin, tokens.user.id)

        found = claims(made.access_token)
        assert (found["sub"], found["act"]) == (str(tokens.user.id), {"sub": admin.id})
        assert (found["sid"], found["exp"] - found["iat"]) == (str(made.session_id), 3600)
        assert made.session_id != UUID(claims(tokens.access_token)["sid"])
        assert (made.expires_in, made.user_id) == (3600, tokens.user.id)
        assert await access(service, made.access_token) == Access(True)

        service.clock.advance(timedelta(hours=1))  # type: ignore[attr-defined]  # the test's own clock
        assert not (await access(service, made.access_token)).active
        assert (await access(service, tokens.access_token)).active


async def test_there_is_no_refresh_token(tmp_path: Path) -> None:
    """A61."""
    async with auth_on("sqlite", tmp_path) as service:
        tokens, admin = await service.sign_up(ADA), await admin_of(service)
        made = await begun(service, admin, tokens.user.id)

        stored = await rows(service.db, "SELECT * FROM refresh_tokens WHERE session_id = $1", made.session_id)
        assert stored == []
        assert "refresh_token" not in {field.name for field in attrs.fields(Impersonation)}


async def test_both_ids_and_the_reason_are_in_the_audit_log(tmp_path: Path) -> None:
    """A57, A61."""
    async with auth_on("sqlite", tmp_path) as service:
        tokens, admin = await service.sign_up(ADA), await admin_of(service)
        made = await begun(service, admin, tokens.user.id)
        with acting(acting_as(tokens, admin)):
            await service.logout("")

        [started] = await entries(service, action="impersonation_started")
        assert (started.actor, started.user_id, started.session_id) == (admin.name, tokens.user.id, made.session_id)
        assert (started.note, started.outcome) == (WHY.reason, "success")
        [ended] = await entries(service, action="session_revoked")
        assert (ended.actor, ended.impersonator) == (f"user:{tokens.user.id}", admin.name)
        assert WHY.reason not in repr(await rows(service.db, "SELECT * FROM auth_audit_logs"))
        events = await told({"auth": service.db}, SessionStarted)
        assert [event.method for event in events if event.session_id == made.session_id] == ["impersonation"]


async def test_the_person_sees_that_somebody_acted_as_them_and_not_why_or_from_where(tmp_path: Path) -> None:
    """A59, A61."""
    async with auth_on("sqlite", tmp_path) as service:
        tokens, admin = await service.sign_up(ADA), await admin_of(service)
        await begun(service, admin, tokens.user.id)
        with acting(person(tokens)):
            page = await service.my_audit_log("", 50)

        [started] = [each for each in page.items if each.action == "impersonation_started"]
        assert (started.actor, started.note, started.ip_address) == (admin.name, "", "")


async def test_me_tells_who_acts(tmp_path: Path) -> None:
    """A61: the flag for a banner."""
    async with auth_on("sqlite", tmp_path) as service:
        tokens, admin = await service.sign_up(ADA), await admin_of(service)
        with acting(person(tokens)):
            assert (await service.me()).impersonator is None
        with acting(acting_as(tokens, admin)):
            assert (await service.me()).impersonator == UUID(admin.id)


@pytest.mark.parametrize(
    "actor",
    [
        pytest.param(ANONYMOUS, id="nobody"),
        pytest.param(Actor("user", str(uuid4()), permissions=("accounts:read", "accounts:write")), id="others"),
        pytest.param(Actor("service", "users"), id="a service"),
        pytest.param(SYSTEM, id="the system, which is no person"),
    ],
)
async def test_it_needs_a_person_with_the_permission(actor: Actor, tmp_path: Path) -> None:
    """A61."""
    async with auth_on("sqlite", tmp_path) as service:
        tokens = await service.sign_up(ADA)
        with acting(actor), pytest.raises((Unauthenticated, Forbidden)):
            await service.impersonate(tokens.user.id, WHY)
        assert await rows(service.db, "SELECT id FROM sessions WHERE impersonator_id IS NOT NULL") == []


@pytest.mark.parametrize("reason", ["", "x" * 501, "line\nbreak"])
def test_a_reason_is_required(reason: str) -> None:
    """A61."""
    with pytest.raises(Invalid) as refused:
        Impersonate(reason)
    assert {error.field for error in refused.value.errors} == {"reason"}


async def test_a_blank_reason_is_none(tmp_path: Path) -> None:
    """A61."""
    async with auth_on("sqlite", tmp_path) as service:
        tokens, admin = await service.sign_up(ADA), await admin_of(service)
        with acting(admin), pytest.raises(Invalid) as refused:
            await service.impersonate(tokens.user.id, Impersonate("   "))
        assert [error.field for error in refused.value.errors] == ["reason"]


@BOTH
async def test_nobody_acts_as_an_administrator_as_themselves_or_as_nobody(database: str, tmp_path: Path) -> None:
    """A61: refusals are recorded with the reason that was given."""
    async with auth_on(database, tmp_path) as service:
        admin, other = await admin_of(service), await admin_of(service, "hopper@x.org")
        tokens = await service.sign_up(ADA)
        await service.db.fetch("UPDATE users SET status = 'disabled' WHERE id = $1", tokens.user.id)
        refused: list[tuple[str, type[Error]]] = [
            (other.id, NotImpersonable),
            (admin.id, NotImpersonable),
            (str(tokens.user.id), NoSuchAccount),
            (str(uuid4()), NoSuchAccount),
        ]
        for target, error in refused:
            with pytest.raises(error):
                await begun(service, admin, UUID(target))

        failures = await entries(service, action="impersonation_started", outcome="failure")
        assert [(each.user_id, each.reason, each.note) for each in failures] == [
            (UUID(target), "not_impersonable", WHY.reason) for target in (admin.id, other.id)
        ]
        assert await rows(service.db, "SELECT id FROM sessions WHERE impersonator_id IS NOT NULL") == []


async def test_whoever_acts_as_another_changes_nothing_for_good(tmp_path: Path) -> None:
    """A61: no chain of impersonations, no look into the person's log; `refuse_impersonated` is there for the rest."""
    async with auth_on("sqlite", tmp_path) as service:
        tokens, admin = await service.sign_up(ADA), await admin_of(service)
        other = await service.sign_up(Register("eve@x.org", PASSWORD))
        made = await begun(service, admin, tokens.user.id)
        both = attrs.evolve(acting_as(tokens, admin), permissions=("*",))
        tries: list[Callable[[], Any]] = [
            lambda: service.impersonate(other.user.id, WHY),
            lambda: service.end_impersonation(made.session_id),
            lambda: service.my_audit_log("", 50),
        ]
        with acting(both):
            for attempt in tries:
                with pytest.raises(Forbidden, match="only the person themselves"):
                    await attempt()
            with pytest.raises(Forbidden):
                both.refuse_impersonated()
        person(tokens).refuse_impersonated()


@BOTH
async def test_it_can_be_ended_before_its_time(database: str, tmp_path: Path) -> None:
    """A61."""
    async with auth_on(database, tmp_path) as service:
        tokens, admin = await service.sign_up(ADA), await admin_of(service)
        made = await begun(service, admin, tokens.user.id)
        with acting(admin):
            for _ in range(2):
                await service.end_impersonation(made.session_id)
            for nothing in (uuid4(), UUID(claims(tokens.access_token)["sid"])):
                with pytest.raises(NoSuchImpersonation):
                    await service.end_impersonation(nothing)
        with acting(person(tokens)), pytest.raises(Forbidden):
            await service.end_impersonation(made.session_id)

        assert not (await access(service, made.access_token)).active
        assert (await access(service, tokens.access_token)).active
        events = await told({"auth": service.db}, SessionRevoked)
        assert [(event.session_id, event.reason) for event in events] == [(made.session_id, "impersonation_ended")]
        [ended] = await entries(service, action="impersonation_ended")
        assert (ended.actor, ended.user_id) == (admin.name, tokens.user.id)


@BOTH
@pytest.mark.parametrize(
    "change",
    [
        pytest.param("DELETE FROM auth_role_holders", id="the permission is gone"),
        pytest.param("UPDATE users SET status = 'disabled' WHERE email = 'grace@x.org'", id="the account is closed"),
        pytest.param(PROMOTE, id="the person is promoted"),
        pytest.param("UPDATE users SET version = version + 1 WHERE email = 'ada@x.org'", id="the person's epoch ended"),
    ],
)
async def test_it_ends_at_once_when_it_would_no_longer_be_allowed(database: str, change: str, tmp_path: Path) -> None:
    """A37, A61."""
    async with auth_on(database, tmp_path) as service:
        tokens, admin = await service.sign_up(ADA), await admin_of(service)
        made = await begun(service, admin, tokens.user.id)
        assert (await access(service, made.access_token)).active
        await service.db.fetch(change)

        assert not (await access(service, made.access_token)).active


def test_nobody_acts_as_somebody_who_may_more() -> None:
    """A56, A61."""
    support = Holdings(("support",), ("accounts:impersonate", "users:read"))

    def may(*permissions: str, roles: tuple[str, ...] = ("some",), status: str = "active") -> bool:
        return may_impersonate(Holder({"status": status}, support), Holdings(roles, permissions))

    assert may()
    assert may("users:read")
    assert [
        may("users:*"),
        may("accounts:impersonate", "users:read"),
        may("*", roles=("admin",)),
        may(status="disabled"),
    ] == [False] * 4


@pytest.mark.parametrize("given", [timedelta(0), timedelta(hours=1, seconds=1)])
def test_an_hour_is_the_most_that_can_be_set(given: timedelta) -> None:
    """A61."""
    with pytest.raises(ValueError, match="impersonation_ttl"):
        AuthSettings(impersonation_ttl=given)
