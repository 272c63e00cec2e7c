"""The keys that sign access tokens follow each other without anybody being signed out."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import jwt
import pytest
from audit_kit import ADA, BOTH, auth_on, database_of, entries, person, service_on

from orion_core.context import ANONYMOUS, SYSTEM, Actor, acting
from orion_core.contracts.auth import Tokens
from orion_core.contracts.auth_keys import RotatedMeanwhile
from orion_core.errors import Forbidden, StartRefused, Unauthenticated
from orion_core.keyring import Key, Keyring
from orion_core.testing.clock import MovableClock
from orion_core.testing.engines import rows
from orion_plugins.auth.service import AuthService

DELAY = timedelta(seconds=360)
LAST_TOKEN = timedelta(hours=1, seconds=30)


def advance(service: AuthService, by: timedelta) -> None:
    assert isinstance(service.clock, MovableClock)
    service.clock.advance(by)


async def published(service: AuthService) -> list[str]:
    return [key.kid for key in await service.keys()]


def kid_of(tokens: Tokens) -> str:
    found: str = jwt.get_unverified_header(tokens.access_token)["kid"]
    return found


async def rotated(service: AuthService) -> str:
    with acting(SYSTEM):
        return (await service.rotate_signing_key()).kid


async def states(service: AuthService) -> dict[str, str]:
    with acting(SYSTEM):
        return {each.kid: each.state for each in await service.signing_keys()}


async def test_the_first_key_of_the_keyring_signs_at_once(tmp_path: Path) -> None:
    """A18: nobody can have kept an older list yet."""
    async with auth_on("sqlite", tmp_path) as service:
        tokens = await service.sign_up(ADA)

        assert kid_of(tokens) == service.keyring.signing[0].kid
        assert await published(service) == [service.keyring.signing[0].kid]


@BOTH
async def test_a_new_key_is_published_before_it_signs_and_an_old_one_until_its_last_token_ends(
    database: str, tmp_path: Path
) -> None:
    """A18: probed a second before and at each moment."""
    async with auth_on(database, tmp_path) as service:
        tokens = await service.sign_up(ADA)
        old = kid_of(tokens)
        second = timedelta(seconds=1)
        new = await rotated(service)
        assert await published(service) == [old, new]
        assert await states(service) == {new: "next", old: "signing"}

        advance(service, DELAY - second)
        tokens = await service.refresh(tokens.refresh_token)
        assert kid_of(tokens) == old
        advance(service, second)
        tokens = await service.refresh(tokens.refresh_token)
        assert kid_of(tokens) == new
        assert await states(service) == {new: "signing", old: "verifying"}

        advance(service, LAST_TOKEN - second)
        assert await published(service) == [old, new]
        advance(service, second)
        assert await published(service) == [new]
        assert await states(service) == {new: "signing", old: "retired"}


async def test_the_secret_of_a_retired_key_is_destroyed_and_never_imported_again(tmp_path: Path) -> None:
    """A18, A60."""
    async with auth_on("sqlite", tmp_path) as service:
        old = service.keyring.signing[0].kid
        new = await rotated(service)
        advance(service, DELAY + LAST_TOKEN)
        await service.tend_signing_keys()

        stored = await rows(service.db, "SELECT kid, sealed FROM auth_signing_keys WHERE sealed = ''")
        assert [row["kid"] for row in stored] == [old]
        async with attrs.evolve(service) as again:
            assert await published(again) == [new]
            assert kid_of(await again.sign_up(ADA)) == new
        assert [each.reason for each in await entries(service, action="signing_key_retired")] == [old]
        assert [each.reason for each in await entries(service, action="signing_key_introduced")] == [new]


async def test_keys_rotate_by_themselves_when_their_time_has_come(tmp_path: Path) -> None:
    """A18."""
    async with auth_on("sqlite", tmp_path, key_rotation=timedelta(days=90)) as service:
        first = service.keyring.signing[0].kid
        advance(service, timedelta(days=90) - timedelta(seconds=1))
        await service.tend_signing_keys()
        assert await published(service) == [first]

        advance(service, timedelta(seconds=1))
        await service.tend_signing_keys()
        await service.tend_signing_keys()

        kids = await published(service)
        assert (kids[0], len(kids)) == (first, 2)
        [entry] = await entries(service, action="signing_key_introduced")
        assert entry.reason == kids[1]


@BOTH
async def test_replicas_agree_on_the_key_that_signs(database: str, tmp_path: Path) -> None:
    """A18: each reads the table again before a new key begins to sign."""
    keyring, clock = Keyring.generate(), MovableClock()
    async with (
        database_of(database, tmp_path) as db,
        service_on(db, keyring=keyring, clock=clock) as one,
        service_on(db, keyring=keyring, clock=clock) as two,
    ):
        tokens = await one.sign_up(ADA)
        await published(two)
        new = await rotated(one)

        clock.advance(timedelta(seconds=60))
        assert await published(two) == await published(one)
        clock.advance(DELAY - timedelta(seconds=60))
        first = await one.refresh(tokens.refresh_token)
        second = await two.refresh(first.refresh_token)
        assert (kid_of(first), kid_of(second)) == (new, new)


@BOTH
async def test_of_those_who_rotate_at_once_one_succeeds_at_a_time(database: str, tmp_path: Path) -> None:
    """A18: there is always exactly one newest key."""
    async with auth_on(database, tmp_path) as service:
        outcomes = await asyncio.gather(*(rotated(service) for _ in range(5)), return_exceptions=True)

        won = [outcome for outcome in outcomes if isinstance(outcome, str)]
        assert won
        assert all(isinstance(outcome, str | RotatedMeanwhile) for outcome in outcomes)
        newest = await rows(service.db, "SELECT kid FROM auth_signing_keys WHERE verifies_until IS NULL")
        assert len(newest) == 1
        assert newest[0]["kid"] in won


async def test_a_key_put_in_front_of_the_keyring_follows_the_newest(tmp_path: Path) -> None:
    """A18."""
    keyring = Keyring.generate()
    added = attrs.evolve(keyring, signing=(Key("added", b"a" * 32), *keyring.signing))
    async with database_of("sqlite", tmp_path) as db:
        async with service_on(db, keyring=keyring):
            pass
        async with service_on(db, keyring=added) as service:
            assert await states(service) == {"added": "next", keyring.signing[0].kid: "signing"}


async def test_older_keys_of_the_first_keyring_verify_for_one_more_life_of_a_token(tmp_path: Path) -> None:
    """A18."""
    keyring = Keyring.generate()
    keyring = attrs.evolve(keyring, signing=(*keyring.signing, Key("older", b"o" * 32)))
    async with database_of("sqlite", tmp_path) as db, service_on(db, keyring=keyring) as service:
        assert await states(service) == {keyring.signing[0].kid: "signing", "older": "verifying"}
        advance(service, LAST_TOKEN)
        assert await published(service) == [keyring.signing[0].kid]


async def test_no_secret_is_in_the_table(tmp_path: Path) -> None:
    """A60."""
    async with auth_on("sqlite", tmp_path) as service:
        stored = repr(await rows(service.db, "SELECT * FROM auth_signing_keys"))
        secret = service.keyring.signing[0].secret
        assert secret.hex() not in stored
        assert repr(secret)[2:-1] not in stored


@pytest.mark.parametrize(
    ("actor", "refusal"), [(ANONYMOUS, Unauthenticated), (Actor("user", "x", permissions=("audit:read",)), Forbidden)]
)
async def test_only_operators_see_and_rotate_keys(actor: Actor, refusal: type[Exception], tmp_path: Path) -> None:
    """A53."""
    async with auth_on("sqlite", tmp_path) as service:
        with acting(actor):
            for ask in (service.signing_keys(), service.rotate_signing_key()):
                with pytest.raises(refusal):
                    await ask


# The keyring


async def start(folder: Path, keyring: Keyring) -> None:
    async with database_of("sqlite", folder) as db, service_on(db, keyring=keyring) as service:
        if not await rows(db, "SELECT id FROM users"):
            tokens = await service.sign_up(ADA)
            assert person(tokens)


def other(key: Key) -> tuple[Key, ...]:
    return (Key(key.kid, b"x" * 32),)


async def test_another_keyring_beside_an_existing_database_is_refused(tmp_path: Path) -> None:
    """A60: found at the start, not when the first person cannot sign in."""
    keyring = Keyring.generate()
    await start(tmp_path, keyring)
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"encryption": Keyring.generate().encryption}, "no encryption key"),
        ({"encryption": other(keyring.encryption[0])}, "does not open"),
        ({"pepper": Keyring.generate().pepper}, "lacks the pepper"),
        ({"pepper": other(keyring.pepper[0])}, "another one than before"),
        ({"signing": other(keyring.signing[0])}, "is not the one that auth knows"),
    ]
    for change, said in wrong:
        with pytest.raises(StartRefused, match=said):
            await start(tmp_path, attrs.evolve(keyring, **change))
    await start(tmp_path, keyring)


async def test_a_keyring_that_got_new_keys_in_front_is_the_same_one(tmp_path: Path) -> None:
    """A60."""
    keyring, new = Keyring.generate(), Keyring.generate()
    grown = Keyring(*(getattr(new, kind) + getattr(keyring, kind) for kind in ("signing", "pepper", "encryption")))
    await start(tmp_path, keyring)
    await start(tmp_path, grown)
    await start(tmp_path, grown)
