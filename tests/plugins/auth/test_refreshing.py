"""What refresh tokens do: rotation, the grace window, reuse and races, on a service built by hand."""

from __future__ import annotations

import asyncio
import hashlib
import random
import secrets
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import attrs
import pytest
from auth_by_hand import (
    ADA,
    BOTH,
    CLIENT,
    PASSWORD,
    SERVICE,
    access,
    auth,
    auth_on,
    claims,
    entries,
    everything,
    person,
    published,
)

from orion_core.context import ANONYMOUS, Actor, Context, acting, use
from orion_core.contracts.auth import (
    Account,
    InvalidGrant,
    Login,
    RefreshReuseDetected,
    Register,
    SessionRevoked,
    Tokens,
)
from orion_core.keyring import Keyring
from orion_core.testing.clock import MovableClock
from orion_core.testing.engines import rows
from orion_plugins.auth.service import AuthService

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
GRACE = timedelta(seconds=10)
SECOND = timedelta(seconds=1)
ELSEWHERE = Context(actor=ANONYMOUS, client_ip="198.51.100.9", user_agent="other/1", correlation_id="request-2")
RACES = 200


def pair(tokens: Tokens) -> tuple[str, str]:
    return tokens.access_token, tokens.refresh_token


def advance(service: AuthService, by: timedelta) -> None:
    assert isinstance(service.clock, MovableClock)
    service.clock.advance(by)


async def refused(service: AuthService, token: str, client: Any = "token") -> None:
    with pytest.raises(InvalidGrant):
        await service.refresh(token, client)


async def new_session(service: AuthService, user_id: UUID) -> Tokens:
    """A session without the cost of a password."""
    async with service.db.transaction():
        issued = await service._start_session(user_id, 1, "token")
    [account] = await rows(service.db, "SELECT email FROM users WHERE id = $1", user_id)
    return await service._tokens(Account(user_id, account["email"]), issued)


# Rotation


async def test_a_refresh_token_is_spent_for_a_new_pair_of_the_same_session(tmp_path: Path) -> None:
    """A20, A21."""
    async with auth(tmp_path) as service:
        first = await service.sign_up(ADA)
        advance(service, timedelta(hours=2))
        second = await service.refresh(first.refresh_token)
        third = await service.refresh(second.refresh_token)

        assert first.user == second.user == third.user
        assert len({tokens.refresh_token for tokens in (first, second, third)}) == 3
        assert claims(first)["sid"] == claims(third)["sid"]
        assert claims(first)["auth_time"] == claims(third)["auth_time"] < claims(third)["iat"]
        [session] = await rows(service.db, "SELECT * FROM sessions")
        assert session["token_hash"] == hashlib.sha256(third.refresh_token.encode()).hexdigest()
        assert session["last_used_at"] > session["created_at"]


@BOTH
async def test_all_of_fifty_concurrent_uses_get_the_same_successor(database: str, tmp_path: Path) -> None:
    """A21, A22."""
    async with auth_on(database, tmp_path) as service:
        tokens = await service.sign_up(ADA)

        found = await asyncio.gather(*(service.refresh(tokens.refresh_token) for _ in range(50)))

        assert len({pair(each) for each in found}) == 1
        assert len(await rows(service.db, "SELECT id FROM refresh_tokens")) == 2
        assert (await access(service, found[0])).active


@BOTH
async def test_without_a_grace_window_one_of_fifty_concurrent_uses_succeeds(database: str, tmp_path: Path) -> None:
    """A21, A22: the others are reuse, so what the one was given ends too."""
    async with auth_on(database, tmp_path, refresh_grace=timedelta(0)) as service:
        tokens = await service.sign_up(ADA)

        outcomes = await asyncio.gather(
            *(service.refresh(tokens.refresh_token) for _ in range(50)), return_exceptions=True
        )

        [won] = [outcome for outcome in outcomes if isinstance(outcome, Tokens)]
        assert all(isinstance(outcome, Tokens | InvalidGrant) for outcome in outcomes)
        assert len(await rows(service.db, "SELECT id FROM refresh_tokens")) == 2
        assert not (await access(service, won)).active
        assert len(await published(service, RefreshReuseDetected)) == 1


@BOTH
async def test_a_change_of_the_account_that_meets_a_refresh_shows_in_its_answer(database: str, tmp_path: Path) -> None:
    """A21: the epoch in the new access token is that of the moment in which the token was spent."""
    async with auth_on(database, tmp_path) as service:
        tokens = await service.sign_up(ADA)
        find, seen = service._refreshing._find, 0

        async def overtaken(_: Any, token: str) -> Any:
            nonlocal seen
            row = await find(token)
            seen += 1
            if seen == 1:
                await service.db.fetch("UPDATE users SET version = version + 1")
            return row

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(service._refreshing), "_find", overtaken)
            found = await service.refresh(tokens.refresh_token)

        assert (seen, claims(found)["ver"]) == (2, 2)
        assert (await access(service, found)).active


# The grace window


@BOTH
@pytest.mark.parametrize("seconds", [1, 10, 60])
async def test_a_retry_one_second_before_the_end_of_the_window_gets_the_pair_and_at_its_end_the_family_ends(
    database: str, seconds: int, tmp_path: Path
) -> None:
    """A23, A24, A26."""
    window = timedelta(seconds=seconds)
    async with auth_on(database, tmp_path, clock=MovableClock(NOON), refresh_grace=window) as service:
        first = await service.sign_up(ADA)
        second = await service.refresh(first.refresh_token)

        advance(service, window - SECOND)
        assert pair(await service.refresh(first.refresh_token)) == pair(second)
        advance(service, SECOND - timedelta(microseconds=1))
        assert pair(await service.refresh(first.refresh_token)) == pair(second)
        assert (await access(service, second)).active

        advance(service, timedelta(microseconds=1))
        await refused(service, first.refresh_token)
        assert not (await access(service, second)).active
        await refused(service, second.refresh_token)


async def test_the_window_is_ten_seconds_by_default(tmp_path: Path) -> None:
    """A23."""
    async with auth(tmp_path, clock=MovableClock(NOON)) as service:
        first = await service.sign_up(ADA)
        second = await service.refresh(first.refresh_token)
        advance(service, GRACE - SECOND)
        assert pair(await service.refresh(first.refresh_token)) == pair(second)
        advance(service, SECOND)
        await refused(service, first.refresh_token)
        assert not (await access(service, second)).active


@BOTH
async def test_a_retry_rotates_nothing_and_writes_nothing(database: str, tmp_path: Path) -> None:
    """A24."""
    async with auth_on(database, tmp_path, clock=MovableClock(NOON)) as service:
        first = await service.sign_up(ADA)
        second = await service.refresh(first.refresh_token)
        before = await everything(service)

        advance(service, 3 * SECOND)
        again = await service.refresh(first.refresh_token)

        assert pair(again) == pair(second)
        assert (second.expires_in, again.expires_in) == (3600, 3597)
        assert again.user == second.user
        assert await everything(service) == before


async def test_the_successor_is_kept_sealed_in_the_row_of_its_predecessor_only(tmp_path: Path) -> None:
    """A24, A60."""
    async with auth(tmp_path, clock=MovableClock(NOON)) as service:
        first, other = await service.sign_up(ADA), await service.login(Login(ADA.email, PASSWORD))
        second = await service.refresh(first.refresh_token)
        theirs = await service.refresh(other.refresh_token)

        stored = repr(await everything(service))
        assert [secret for secret in (*pair(second), *pair(theirs)) if secret in stored] == []
        # Moved to another row it opens for nobody.
        kept = await rows(
            service.db, "SELECT id, successor FROM refresh_tokens WHERE successor IS NOT NULL ORDER BY id"
        )
        assert len(kept) == 2
        for row, swapped in zip(kept, reversed(kept), strict=True):
            await service.db.fetch(
                "UPDATE refresh_tokens SET successor = $1 WHERE id = $2", swapped["successor"], row["id"]
            )
        await refused(service, first.refresh_token)
        assert (await access(service, second)).active


async def test_a_retry_whose_answer_cannot_be_opened_is_refused_and_the_family_kept(tmp_path: Path) -> None:
    """A24."""
    async with auth(tmp_path, clock=MovableClock(NOON)) as service:
        first = await service.sign_up(ADA)
        second = await service.refresh(first.refresh_token)
        others = attrs.evolve(service.keyring, encryption=Keyring.generate().encryption)
        renewed = attrs.evolve(service, keyring=others)

        await refused(renewed, first.refresh_token)

        assert (await access(service, second)).active
        assert await service.refresh(second.refresh_token)


@BOTH
async def test_the_successor_is_forgotten_when_the_window_is_over(database: str, tmp_path: Path) -> None:
    """A24."""
    kept = "SELECT id FROM refresh_tokens WHERE successor IS NOT NULL"
    async with auth_on(database, tmp_path, clock=MovableClock(NOON)) as service:
        first = await service.sign_up(ADA)
        second = await service.refresh(first.refresh_token)
        advance(service, GRACE - SECOND)
        await service.forget_successors()
        assert pair(await service.refresh(first.refresh_token)) == pair(second)

        advance(service, SECOND)
        await service.forget_successors()

        assert await rows(service.db, kept) == []
        assert (await access(service, second)).active
        assert await service.refresh(second.refresh_token)


@BOTH
async def test_more_successors_than_one_batch_are_all_forgotten(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A24."""
    monkeypatch.setattr("orion_plugins.auth.refreshing._BATCH", 2)
    async with auth_on(database, tmp_path, clock=MovableClock(NOON)) as service:
        first = await service.sign_up(ADA)
        for _ in range(5):
            await service.refresh((await new_session(service, first.user.id)).refresh_token)
        advance(service, GRACE)

        await service.forget_successors()

        assert await rows(service.db, "SELECT id FROM refresh_tokens WHERE successor IS NOT NULL") == []


@BOTH
async def test_a_retry_after_the_successor_was_rotated_is_refused_and_the_family_kept(
    database: str, tmp_path: Path
) -> None:
    """A25, A27: all within one instant, and the pair of the first use is forgotten by the next."""
    async with auth_on(database, tmp_path, clock=MovableClock(NOON)) as service:
        first = await service.sign_up(ADA)
        second = await service.refresh(first.refresh_token)
        third = await service.refresh(second.refresh_token)
        before = await everything(service)

        await refused(service, first.refresh_token)

        assert await everything(service) == before
        assert len([row for row in before["refresh_tokens"] if row["successor"]]) == 1
        assert (await access(service, third)).active
        assert pair(await service.refresh(second.refresh_token)) == pair(third)
        assert await service.refresh(third.refresh_token)


# Reuse


@BOTH
@pytest.mark.parametrize("generation", [0, 1, 2])
async def test_a_token_spent_longer_ago_ends_the_whole_family_whatever_its_generation(
    generation: int, database: str, tmp_path: Path
) -> None:
    """A26, A57."""
    async with auth_on(database, tmp_path, clock=MovableClock(NOON)) as service:
        with use(CLIENT):
            tokens = [await service.sign_up(ADA)]
        other = await service.login(Login(ADA.email, PASSWORD))
        for _ in range(3):
            tokens.append(await service.refresh(tokens[-1].refresh_token))
        advance(service, GRACE)

        with use(ELSEWHERE):
            await refused(service, tokens[generation].refresh_token)

        for each in tokens:
            await refused(service, each.refresh_token)
            assert not (await access(service, each)).active
        assert (await access(service, other)).active
        [event] = await published(service, SessionRevoked)
        assert (str(event.session_id), event.reason) == (claims(tokens[0])["sid"], "refresh_reuse")
        [told] = await published(service, RefreshReuseDetected)
        assert (told.user_id, told.session_id, told.email) == (tokens[0].user.id, event.session_id, "ada@x.org")
        assert (told.ip_address, told.session_ip_address) == ("198.51.100.9", "192.0.2.7")
        [row] = await entries(service, action="refresh_reuse_detected")
        assert (row.ip_address, row.other_ip_address) == ("198.51.100.9", "192.0.2.7")
        assert (row.outcome, row.session_id) == ("failure", event.session_id)


@BOTH
async def test_a_replay_at_the_same_instant_is_detected(database: str, tmp_path: Path) -> None:
    """A27."""
    async with auth_on(database, tmp_path, clock=MovableClock(NOON), refresh_grace=timedelta(0)) as service:
        first = await service.sign_up(ADA)
        second = await service.refresh(first.refresh_token)

        await refused(service, first.refresh_token)

        assert not (await access(service, second)).active
        assert len(await published(service, RefreshReuseDetected)) == 1


@BOTH
async def test_many_reuses_at_once_are_told_once(database: str, tmp_path: Path) -> None:
    """A26."""
    async with auth_on(database, tmp_path, clock=MovableClock(NOON)) as service:
        first = await service.sign_up(ADA)
        await service.refresh(first.refresh_token)
        advance(service, GRACE)

        outcomes = await asyncio.gather(
            *(service.refresh(first.refresh_token) for _ in range(20)), return_exceptions=True
        )

        assert all(isinstance(outcome, InvalidGrant) for outcome in outcomes)
        assert len(await published(service, RefreshReuseDetected)) == 1
        assert len(await published(service, SessionRevoked)) == 1


# Refusals


@BOTH
@pytest.mark.parametrize("spent", [False, True], ids=["fresh", "spent"])
async def test_another_client_or_person_is_refused_and_the_family_untouched(
    spent: bool, database: str, tmp_path: Path
) -> None:
    """A29."""
    async with auth_on(database, tmp_path, clock=MovableClock(NOON)) as service:
        token, cookie = await service.sign_up(ADA), await service.login(Login(ADA.email, PASSWORD), "cookie")
        grace = await service.sign_up(Register("grace@x.org", PASSWORD))
        latest = token, cookie
        if spent:
            latest = await service.refresh(token.refresh_token), await service.refresh(cookie.refresh_token, "cookie")
            advance(service, 2 * GRACE)
        before = await everything(service)

        await refused(service, token.refresh_token, "cookie")
        await refused(service, cookie.refresh_token, "token")
        with acting(person(grace)):
            await refused(service, token.refresh_token)
            await refused(service, cookie.refresh_token, "cookie")

        assert await everything(service) == before
        for tokens, client in zip(latest, ("token", "cookie"), strict=True):
            with acting(person(token)):
                assert await service.refresh(tokens.refresh_token, client)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "state",
    ["malformed", "unknown", "foreign", "expired", "idle", "revoked", "disabled", "erased", "spent and revoked"],
)
async def test_every_refused_refresh_token_is_the_same_error_and_writes_nothing(state: str, tmp_path: Path) -> None:
    """A30, A31."""
    async with auth(tmp_path) as service:
        tokens = await service.sign_up(ADA)
        token = tokens.refresh_token
        match state:
            case "malformed":
                token = "ort_'; DROP TABLE users; --"
            case "unknown":
                token = "ort_" + "A" * 43
            case "foreign":
                token = tokens.access_token
            case "expired":
                advance(service, timedelta(days=31))
            case "idle":
                advance(service, timedelta(days=7))
            case "revoked":
                await service.logout(token)
            case "spent and revoked":
                await service.refresh(token)
                await service.logout(token)
            case _:
                await service.db.fetch("UPDATE users SET status = $1", state)
        before = await everything(service)

        with pytest.raises(InvalidGrant) as error:
            await service.refresh(token)

        assert (error.value.status, error.value.code) == (400, "auth.invalid_grant")
        assert str(error.value) == "the refresh token does not count: sign in again"
        assert await everything(service) == before


async def test_a_retry_of_somebody_who_was_disabled_or_signed_out_meanwhile_is_refused(tmp_path: Path) -> None:
    """A28, A30."""
    async with auth(tmp_path, clock=MovableClock(NOON)) as service:
        first = await service.sign_up(ADA)
        await service.refresh(first.refresh_token)
        await service.db.fetch("UPDATE users SET status = 'disabled'")
        await refused(service, first.refresh_token)
        await service.db.fetch("UPDATE users SET status = 'active'")
        assert await service.refresh(first.refresh_token)
        await service.logout(first.refresh_token)
        await refused(service, first.refresh_token)


async def test_use_moves_the_idle_end_and_never_the_absolute_one(tmp_path: Path) -> None:
    """A30."""
    async with auth(tmp_path) as service:
        tokens = await service.sign_up(ADA)
        [opened] = await rows(service.db, "SELECT expires_at FROM sessions")
        for _ in range(4):
            advance(service, timedelta(days=7, seconds=-10))
            tokens = await service.refresh(tokens.refresh_token)

        [session] = await rows(service.db, "SELECT expires_at, idle_expires_at FROM sessions")
        assert session["expires_at"] == session["idle_expires_at"] == opened["expires_at"]
        advance(service, timedelta(days=2, seconds=50))
        await refused(service, tokens.refresh_token)
        assert not (await access(service, tokens)).active


# Races


Ending = Callable[[AuthService, Tokens], Awaitable[None]]


async def signs_out(service: AuthService, tokens: Tokens) -> None:
    await service.logout(tokens.refresh_token)


async def revokes(service: AuthService, tokens: Tokens) -> None:
    with acting(person(tokens)):
        await service.end_session(tokens.user.id, UUID(claims(tokens)["sid"]))


async def changes_the_password(service: AuthService, tokens: Tokens) -> None:
    """What a change of the password does to sessions, in one transaction with the account's new epoch."""
    async with service.db.transaction():
        await service.db.fetch("UPDATE users SET version = version + 1 WHERE id = $1", tokens.user.id)
        await service._sessions.revoke_all(tokens.user.id, "password_changed", service.clock.now())


@BOTH
@pytest.mark.parametrize("grace", [GRACE, timedelta(0)], ids=["with grace", "without"])
async def test_over_200_races_of_refreshes_with_what_ends_a_session_no_live_token_survives(
    grace: timedelta, database: str, tmp_path: Path
) -> None:
    """A28."""
    seed = secrets.randbits(32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    endings: list[Ending] = [signs_out, revokes, changes_the_password]
    async with auth_on(database, tmp_path, refresh_grace=grace) as service:
        user = (await service.register(ADA)).id
        won = 0
        for turn in range(RACES):
            await service.db.fetch("UPDATE users SET version = 1")
            first = await new_session(service, user)

            async def refreshes(token: str, pause: int) -> list[Tokens]:
                """Twice in a row, as far as that goes."""
                await idle(pause)
                found: list[Tokens] = []
                try:
                    found.append(await service.refresh(token))
                    await idle(pause)
                    found.append(await service.refresh(found[0].refresh_token))
                except InvalidGrant:
                    pass
                return found

            async def ends(how: Ending, tokens: Tokens, pause: int) -> None:
                await idle(pause)
                await how(service, tokens)

            racers: list[Awaitable[Any]] = [
                refreshes(first.refresh_token, rng.randrange(8)) for _ in range(rng.choice([1, 2, 3]))
            ]
            racers.insert(rng.randrange(len(racers) + 1), ends(endings[turn % 3], first, rng.randrange(24)))
            outcomes = await asyncio.gather(*racers)

            issued = [first, *(tokens for outcome in outcomes if outcome for tokens in outcome)]
            won += len(issued) > 1
            for tokens in issued:
                assert not (await access(service, tokens)).active
                await refused(service, tokens.refresh_token)
        assert await rows(service.db, "SELECT id FROM sessions WHERE revoked_at IS NULL") == []
        assert won, "no refresh came first: these were no races"


async def idle(turns: int) -> None:
    """Let others go first, so many times."""
    for _ in range(turns):
        await asyncio.sleep(0)


@BOTH
async def test_the_job_that_forgets_meets_refreshes_without_harm(database: str, tmp_path: Path) -> None:
    """A24, A28."""
    async with auth_on(database, tmp_path, clock=MovableClock(NOON)) as service:
        first = await service.sign_up(ADA)
        sessions = [await new_session(service, first.user.id) for _ in range(10)]
        spent = [await service.refresh(each.refresh_token) for each in sessions]
        advance(service, GRACE)

        again = await asyncio.gather(
            *(service.refresh(each.refresh_token) for each in spent), *(service.forget_successors() for _ in range(3))
        )

        for tokens in again[:10]:
            assert isinstance(tokens, Tokens)
            assert (await access(service, tokens)).active


async def test_only_a_person_counts_as_somebody_else(tmp_path: Path) -> None:
    """A29: a job or another service that refreshes for its person is none."""
    async with auth(tmp_path) as service:
        tokens = await service.sign_up(ADA)
        for actor in (SERVICE, ANONYMOUS, Actor("user", str(tokens.user.id))):
            with acting(actor):
                tokens = await service.refresh(tokens.refresh_token)
