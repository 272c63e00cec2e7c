"""How sessions are seen and end, on a service built by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from auth_by_hand import (
    ADA,
    BOTH,
    CLIENT,
    PASSWORD,
    access,
    audit,
    auth,
    auth_on,
    claims,
    everything,
    person,
    published,
)

from orion_core.context import ANONYMOUS, SYSTEM, Actor, acting, use
from orion_core.contracts.auth import InvalidGrant, Login, Register, SessionRevoked, Tokens
from orion_core.contracts.auth_access import NoSuchAccount
from orion_core.contracts.auth_sessions import NoSuchSession, SessionInfo
from orion_core.contracts.users import UserErased
from orion_core.errors import Forbidden, Invalid, Malformed, Unauthenticated
from orion_core.testing.clock import MovableClock
from orion_core.testing.engines import rows
from orion_plugins.auth.service import AuthService
from orion_plugins.auth.sessions import purge

LOGIN = Login(ADA.email, PASSWORD)
MANAGER = Actor("user", str(uuid4()), permissions=("sessions:manage",))


def session_of(tokens: Tokens) -> UUID:
    return UUID(claims(tokens)["sid"])


def ids(sessions: Iterable[SessionInfo]) -> list[UUID]:
    return [each.id for each in sessions]


async def three(service: AuthService) -> list[Tokens]:
    """Ada's three sessions, the oldest first."""
    return [await service.sign_up(ADA), await service.login(LOGIN), await service.login(LOGIN)]


async def active(service: AuthService, tokens: Iterable[Tokens]) -> list[bool]:
    return [(await access(service, each)).active for each in tokens]


# Seeing them


@BOTH
async def test_somebody_sees_their_sessions_the_latest_first_and_the_current_one_marked(
    database: str, tmp_path: Path
) -> None:
    """A32."""
    async with auth_on(database, tmp_path) as service:
        with use(CLIENT):
            first = await service.sign_up(ADA)
        second = await service.login(LOGIN, "cookie")
        await service.sign_up(Register("grace@x.org", PASSWORD))
        with acting(person(first)):
            page = await service.sessions_of(first.user.id, "", 50)

        assert page.next_cursor is None
        assert ids(page.items) == [session_of(second), session_of(first)]
        assert [(each.client, each.current) for each in page.items] == [("cookie", False), ("token", True)]
        mine = page.items[1]
        assert (mine.ip_address, mine.user_agent, mine.device, mine.amr) == ("192.0.2.7", "test/1", "test", ("pwd",))
        assert mine.expires_at - mine.created_at == timedelta(days=30)
        assert mine.idle_expires_at - mine.last_used_at == timedelta(days=7)


async def test_a_session_shows_when_it_was_last_refreshed(tmp_path: Path) -> None:
    """A32."""
    async with auth(tmp_path) as service:
        tokens = await service.sign_up(ADA)
        assert isinstance(service.clock, MovableClock)
        service.clock.advance(timedelta(days=2))
        await service.refresh(tokens.refresh_token)
        with acting(person(tokens)):
            [mine] = (await service.sessions_of(tokens.user.id, "", 50)).items

        assert timedelta(days=2) <= mine.last_used_at - mine.created_at < timedelta(days=2, minutes=5)


@BOTH
async def test_only_sessions_that_go_on_are_seen(database: str, tmp_path: Path) -> None:
    """A32."""
    async with auth_on(database, tmp_path) as service:
        over = await service.sign_up(ADA)
        assert isinstance(service.clock, MovableClock)
        service.clock.advance(timedelta(days=7))
        signed_out, here = await service.login(LOGIN), await service.login(LOGIN)
        await service.logout(signed_out.refresh_token)
        with acting(person(here)):
            page = await service.sessions_of(over.user.id, "", 50)

        assert ids(page.items) == [session_of(here)]


@BOTH
async def test_many_sessions_come_in_pages(database: str, tmp_path: Path) -> None:
    """A32."""
    async with auth_on(database, tmp_path) as service:
        sessions = await three(service)
        user_id = sessions[0].user.id
        with acting(person(sessions[0])):
            first = await service.sessions_of(user_id, "", 2)
            second = await service.sessions_of(user_id, first.next_cursor or "", 2)

            assert ids(first.items + second.items) == [session_of(each) for each in reversed(sessions)]
            assert second.next_cursor is None
            for cursor in ("x", "A" * 22 + "=", "é" * 22):
                with pytest.raises(Malformed):
                    await service.sessions_of(user_id, cursor, 2)
            for limit in (0, 201, -1):
                with pytest.raises(Invalid, match="limit"):
                    await service.sessions_of(user_id, "", limit)


# Ending them


@BOTH
async def test_ending_one_session_ends_that_one_and_is_told_once(database: str, tmp_path: Path) -> None:
    """A32, A33."""
    async with auth_on(database, tmp_path) as service:
        here, there, elsewhere = await three(service)
        with acting(person(here)):
            for _ in range(2):
                await service.end_session(here.user.id, session_of(there))

        assert await active(service, [here, there, elsewhere]) == [True, False, True]
        [event] = await published(service, SessionRevoked)
        assert (event.session_id, event.user_id, event.reason) == (session_of(there), here.user.id, "ended_by_owner")
        assert (await audit(service)).count(("session_revoked", "success", "ended_by_owner")) == 1
        with pytest.raises(InvalidGrant):
            await service.refresh(there.refresh_token)


@BOTH
@pytest.mark.parametrize("keep", [True, False], ids=["others", "all"])
async def test_ending_all_sessions_or_all_others(keep: bool, database: str, tmp_path: Path) -> None:
    """A32, A34."""
    async with auth_on(database, tmp_path) as service:
        sessions = await three(service)
        grace = await service.sign_up(Register("grace@x.org", PASSWORD))
        with acting(person(sessions[1])):
            await service.end_sessions(sessions[1].user.id, keep_current=keep)

        assert await active(service, [*sessions, grace]) == [False, keep, False, True]
        ended = {session_of(each) for each in sessions} - ({session_of(sessions[1])} if keep else set())
        assert {event.session_id for event in await published(service, SessionRevoked)} == ended


@BOTH
async def test_whoever_changes_an_account_ends_its_other_sessions_in_the_same_transaction(
    database: str, tmp_path: Path
) -> None:
    """A34."""
    async with auth_on(database, tmp_path) as service:
        sessions = await three(service)
        user_id, kept = sessions[0].user.id, session_of(sessions[2])

        async def change(*, fails: bool) -> list[UUID]:
            async with service.db.transaction():
                ended = await service._sessions.revoke_all(user_id, "password_changed", service.clock.now(), keep=kept)
                if fails:
                    raise OSError("the disk is gone")
            return ended

        before = await everything(service)
        with pytest.raises(OSError, match="disk"):
            await change(fails=True)
        assert await everything(service) == before

        assert set(await change(fails=False)) == {session_of(each) for each in sessions[:2]}
        assert await active(service, sessions) == [False, False, True]
        assert [event.reason for event in await published(service, SessionRevoked)] == ["password_changed"] * 2
        assert await change(fails=False) == []


async def test_a_session_of_somebody_else_cannot_be_ended_or_told_from_none(tmp_path: Path) -> None:
    """A32, A53."""
    async with auth(tmp_path) as service:
        ada, grace = await service.sign_up(ADA), await service.sign_up(Register("grace@x.org", PASSWORD))
        before = await everything(service)
        with acting(person(ada)):
            for session_id in (session_of(grace), uuid4()):
                with pytest.raises(NoSuchSession) as error:
                    await service.end_session(ada.user.id, session_id)
                assert str(error.value) == "there is no session with this id: list the sessions anew"
        assert await everything(service) == before


@pytest.mark.parametrize("permissions", [(), ("sessions:read", "accounts:*")])
async def test_the_sessions_of_others_need_the_permission(permissions: tuple[str, ...], tmp_path: Path) -> None:
    """A53."""
    async with auth(tmp_path) as service:
        ada = await service.sign_up(ADA)
        before = await everything(service)
        for actor, refusal in (
            (Actor("user", str(uuid4()), permissions=permissions), Forbidden),
            (Actor("service", "users", permissions=permissions), Forbidden),
            (ANONYMOUS, Unauthenticated),
        ):
            with acting(actor):
                for asked in (ada.user.id, uuid4()):
                    with pytest.raises(refusal):
                        await service.sessions_of(asked, "", 50)
                    with pytest.raises(refusal):
                        await service.end_session(asked, session_of(ada))
                    with pytest.raises(refusal):
                        await service.end_sessions(asked, keep_current=False)
        assert await everything(service) == before


@BOTH
async def test_an_administrator_sees_and_ends_the_sessions_of_others_and_that_is_audited(
    database: str, tmp_path: Path
) -> None:
    """A32, A59."""
    async with auth_on(database, tmp_path) as service:
        first, second, third = await three(service)
        user_id = first.user.id
        with acting(MANAGER):
            page = await service.sessions_of(user_id, "", 50)
            await service.end_session(user_id, session_of(second))
            assert await active(service, [first, second, third]) == [True, False, True]
            await service.end_sessions(user_id, keep_current=True)

        assert len(page.items) == 3
        assert not any(each.current for each in page.items)
        assert await active(service, [first, second, third]) == [False] * 3
        logged = await rows(
            service.db,
            "SELECT action, reason, user_id FROM auth_audit_logs WHERE actor = $1 ORDER BY seq",
            MANAGER.name,
        )
        assert [row["action"] for row in logged] == ["sessions_read", *["session_revoked"] * 3]
        assert {row["reason"] for row in logged[1:]} == {"ended_by_administrator"}
        assert {row["user_id"] for row in logged} == {user_id}


async def test_somebody_who_does_not_exist_is_not_found_by_administrators(tmp_path: Path) -> None:
    """A32."""
    async with auth(tmp_path) as service:
        ada = await service.sign_up(ADA)
        async with service.db.transaction():
            await service.erase_account(UserErased(ada.user.id, service.clock.now()))
        for actor in (MANAGER, SYSTEM):
            with acting(actor):
                for asked in (uuid4(), ada.user.id):
                    with pytest.raises(NoSuchAccount):
                        await service.sessions_of(asked, "", 50)
                    with pytest.raises(NoSuchAccount):
                        await service.end_session(asked, session_of(ada))
                    with pytest.raises(NoSuchAccount):
                        await service.end_sessions(asked, keep_current=False)


@BOTH
async def test_two_who_end_all_sessions_at_once_tell_each_end_once(database: str, tmp_path: Path) -> None:
    """A33."""
    async with auth_on(database, tmp_path) as service:
        sessions = await three(service)
        with acting(person(sessions[0])):
            await asyncio.gather(*(service.end_sessions(sessions[0].user.id, keep_current=False) for _ in range(5)))

        told = [event.session_id for event in await published(service, SessionRevoked)]
        assert sorted(told) == sorted(map(session_of, sessions))


# Signing out


async def test_logging_out_ends_the_callers_session_and_is_told_once(tmp_path: Path) -> None:
    """A33."""
    async with auth(tmp_path) as service:
        tokens, other = await service.sign_up(ADA), await service.login(Login("ada@x.org", PASSWORD))

        with acting(person(tokens)):
            await service.logout("")
            await service.logout("")

        assert not (await access(service, tokens)).active
        assert (await access(service, other)).active
        [event] = await published(service, SessionRevoked)
        assert (str(event.session_id), event.user_id) == (claims(tokens)["sid"], tokens.user.id)
        assert event.reason == "logout"


async def test_logging_out_with_a_refresh_token_needs_nobody_signed_in(tmp_path: Path) -> None:
    """A33."""
    async with auth(tmp_path) as service:
        tokens = await service.sign_up(ADA)
        with acting(ANONYMOUS):
            await service.logout(tokens.refresh_token)
        assert not (await access(service, tokens)).active


async def test_a_stale_refresh_token_does_not_keep_the_caller_signed_in(tmp_path: Path) -> None:
    """A33."""
    async with auth(tmp_path) as service:
        tokens = await service.sign_up(ADA)
        with acting(person(tokens)):
            await service.logout("ort_" + "A" * 43)
        assert not (await access(service, tokens)).active


@pytest.mark.parametrize("token", ["", "garbage", "ort_" + "A" * 43])
async def test_logging_out_of_nothing_is_silent_and_writes_nothing(token: str, tmp_path: Path) -> None:
    """A31, A33."""
    async with auth(tmp_path) as service:
        await service.sign_up(ADA)
        before = await everything(service)
        with acting(ANONYMOUS):
            await service.logout(token)
        assert await everything(service) == before


async def test_sessions_that_are_over_are_purged_with_their_tokens(tmp_path: Path) -> None:
    """A30."""
    async with auth(tmp_path) as service:
        clock = service.clock
        assert isinstance(clock, MovableClock)
        await service.sign_up(ADA)
        clock.advance(timedelta(days=6))
        kept = await service.login(Login("ada@x.org", PASSWORD))
        clock.advance(timedelta(days=2))

        await service.purge()

        assert [str(row["id"]) for row in await rows(service.db, "SELECT id FROM sessions")] == [claims(kept)["sid"]]
        assert len(await rows(service.db, "SELECT id FROM refresh_tokens")) == 1
        assert (await access(service, kept)).active


async def test_purging_goes_on_until_no_session_that_is_over_is_left(tmp_path: Path) -> None:
    """A30: in batches, so that a large purge keeps nobody waiting."""
    async with auth(tmp_path) as service:
        clock = service.clock
        assert isinstance(clock, MovableClock)
        await service.sign_up(ADA)
        for _ in range(4):
            await service.login(Login("ada@x.org", PASSWORD))
        clock.advance(timedelta(days=8))
        kept = await service.login(Login("ada@x.org", PASSWORD))

        await purge(service.db, clock.now(), batch=2)

        assert [str(row["id"]) for row in await rows(service.db, "SELECT id FROM sessions")] == [claims(kept)["sid"]]
