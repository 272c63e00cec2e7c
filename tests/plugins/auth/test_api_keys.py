"""API keys of `auth` built by hand, on both databases."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import timedelta
from pathlib import Path

import attrs
import pytest
from access_service import SERVICE, Accounts, accounts_on

from orion_core.context import ANONYMOUS, SYSTEM, Actor, acting
from orion_core.contracts.auth_access import NewResourceGrant, NewRole
from orion_core.contracts.auth_api_keys import (
    ApiKeyCreated,
    ApiKeyRevoked,
    IssuedApiKey,
    KeyAccess,
    NewApiKey,
    NoSuchApiKey,
    ScopeNotHeld,
    TooManyApiKeys,
)
from orion_core.contracts.users import UserErased
from orion_core.errors import Error, Forbidden, Invalid, Unauthenticated
from orion_core.testing.engines import rows, told

BOTH = pytest.mark.parametrize("database", ["sqlite", "postgresql"])
GONE = KeyAccess(active=False)


async def access(accounts: Accounts, secret: str) -> KeyAccess:
    with acting(SERVICE):
        return await accounts.auth.key_access(hashlib.sha256(secret.encode()).hexdigest())


async def make(accounts: Accounts, who: Actor, *scopes: str, days: int = 30) -> IssuedApiKey:
    with acting(who):
        return await accounts.auth.create_api_key(NewApiKey("nightly import", days, scopes))


@BOTH
async def test_a_key_is_shown_once_and_kept_as_a_hash(database: str, tmp_path: Path) -> None:
    """A20: for API keys what holds for refresh tokens, 256 random bits and no copy of them."""
    async with accounts_on(database, tmp_path) as accounts:
        ada = await accounts.person()
        made = await make(accounts, ada, "own:read")
        with acting(ada):
            listed = (await accounts.auth.api_keys()).items

        assert made.secret.startswith("oak_")
        assert len(made.secret) == len("oak_") + 43
        assert made.secret not in repr(made)
        assert listed == (made.key,)
        assert (made.key.hint, made.key.scopes, made.key.last_used_at) == (made.secret[:9], ("own:read",), None)
        assert made.key.expires_at == accounts.clock.now() + timedelta(days=30)
        for table in ("auth_api_keys", "auth_audit_logs", "orion_outbox"):
            stored = repr(await rows(accounts.db, f"SELECT * FROM {table}"))
            assert stored != "[]"
            assert made.secret not in stored
        [row] = await rows(accounts.db, "SELECT token_hash FROM auth_api_keys")
        assert row["token_hash"] == hashlib.sha256(made.secret.encode()).hexdigest()
        [event] = await told({"auth": accounts.db}, ApiKeyCreated)
        assert (event.key_id, event.user_id, event.name) == (made.key.id, ada.user_id, "nightly import")


@BOTH
async def test_a_key_may_what_its_scopes_say_out_of_what_its_owner_may_now(database: str, tmp_path: Path) -> None:
    """A53, A56."""
    async with accounts_on(database, tmp_path) as accounts:
        with acting(SYSTEM):
            await accounts.auth.create_role(NewRole("clerk", ("invoices:*", "memos:read")))
        ada = await accounts.person("clerk")
        made = await make(accounts, ada, "invoices:read", "memos:read", "own:write")
        found = await access(accounts, made.secret)
        assert (found.active, found.user_id, found.key_id) == (True, ada.user_id, made.key.id)
        assert (found.roles, found.permissions) == (("clerk",), ("invoices:read", "memos:read"))
        assert (found.scopes, found.granted) == (("invoices:read", "memos:read", "own:write"), False)

        with acting(SYSTEM):
            await accounts.auth.grant(NewResourceGrant("memos:read", "memo:1", user_id=ada.user_id))
            await accounts.auth.unassign_role(ada.user_id, "clerk")
        found = await access(accounts, made.secret)
        assert (found.active, found.permissions, found.granted) == (True, (), True)


@BOTH
async def test_a_key_can_do_no_more_than_its_owner(database: str, tmp_path: Path) -> None:
    """A56."""
    async with accounts_on(database, tmp_path) as accounts:
        with acting(SYSTEM):
            await accounts.auth.create_role(NewRole("clerk", ("invoices:read",)))
        ada = await accounts.person("clerk")
        for scopes in (("invoices:read", "invoices:write"), ("invoices:*",), ("*",), ("own:*",)):
            with pytest.raises(ScopeNotHeld) as refused:
                await make(accounts, ada, *scopes)
            assert refused.value.errors[0].field == f"scopes.{len(scopes) - 1}"
        for scopes in (("invoices",), ("*:read",), ("in*voices:read",)):
            with pytest.raises(Invalid) as malformed:
                await make(accounts, ada, *scopes)
            assert malformed.value.errors[0].field == "scopes.0"
        assert await rows(accounts.db, "SELECT id FROM auth_api_keys") == []


@BOTH
async def test_a_key_counts_until_it_expires_and_is_forgotten_later(database: str, tmp_path: Path) -> None:
    async with accounts_on(database, tmp_path) as accounts:
        ada = await accounts.person()
        made = await make(accounts, ada, days=2)
        accounts.clock.advance(timedelta(days=2) - timedelta(seconds=1))
        assert (await access(accounts, made.secret)).active
        accounts.clock.advance(timedelta(seconds=1))
        assert await access(accounts, made.secret) == GONE
        await accounts.auth.purge()
        with acting(ada):
            assert [key.id for key in (await accounts.auth.api_keys()).items] == [made.key.id]
        accounts.clock.advance(timedelta(days=31))
        await accounts.auth.purge()
        assert await rows(accounts.db, "SELECT id FROM auth_api_keys") == []


async def test_a_key_has_an_end_within_the_limit_of_the_deployment(tmp_path: Path) -> None:
    async with accounts_on("sqlite", tmp_path, api_key_lifetime=timedelta(days=7)) as accounts:
        ada = await accounts.person()
        for days in (0, 8, 3651):
            with pytest.raises(Invalid) as refused:
                await make(accounts, ada, days=days)
            assert [error.field for error in refused.value.errors] == ["expires_in_days"]
        await make(accounts, ada, days=7)


@BOTH
async def test_revoking_ends_a_key_and_only_its_owner_can(database: str, tmp_path: Path) -> None:
    async with accounts_on(database, tmp_path) as accounts:
        ada, grace = await accounts.person(), await accounts.person("admin")
        made, other = await make(accounts, ada), await make(accounts, grace)
        with acting(grace), pytest.raises(NoSuchApiKey):
            await accounts.auth.revoke_api_key(made.key.id)
        with acting(ada):
            await accounts.auth.revoke_api_key(made.key.id)
            with pytest.raises(NoSuchApiKey):
                await accounts.auth.revoke_api_key(made.key.id)
            assert (await accounts.auth.api_keys()).items == ()

        assert await access(accounts, made.secret) == GONE
        assert (await access(accounts, other.secret)).active
        assert await told({"auth": accounts.db}, ApiKeyRevoked) == [ApiKeyRevoked(made.key.id, ada.user_id)]


@BOTH
async def test_a_key_of_a_closed_account_counts_no_more(database: str, tmp_path: Path) -> None:
    """A30."""
    async with accounts_on(database, tmp_path) as accounts:
        ada = await accounts.person()
        made = await make(accounts, ada)
        with acting(SYSTEM):
            await accounts.auth.disable_account(ada.user_id)
            assert await access(accounts, made.secret) == GONE
            await accounts.auth.enable_account(ada.user_id)
        assert (await access(accounts, made.secret)).active
        async with accounts.db.transaction():
            await accounts.auth.erase_account(UserErased(ada.user_id, accounts.clock.now()))
        assert await access(accounts, made.secret) == GONE


async def test_what_is_no_key_is_nobodys(tmp_path: Path) -> None:
    async with accounts_on("sqlite", tmp_path) as accounts:
        made = await make(accounts, await accounts.person())
        with acting(SERVICE):
            for given in ("", made.secret, "0" * 64, "0" * 63, "A" * 64, "\x00" * 64, "'" * 64):
                assert await accounts.auth.key_access(given) == GONE
        for actor in (ANONYMOUS, await accounts.person("admin")):
            with acting(actor), pytest.raises(Forbidden):
                await accounts.auth.key_access("0" * 64)


async def test_a_key_looks_after_no_keys(tmp_path: Path) -> None:
    async with accounts_on("sqlite", tmp_path) as accounts:
        ada = await accounts.person()
        made = await make(accounts, ada, "own:read", "own:write")
        key = attrs.evolve(ada, session=f"key:{made.key.id}", scopes=("own:read", "own:write"))
        for actor, refusal in ((key, Forbidden), (ANONYMOUS, Unauthenticated), (SYSTEM, Unauthenticated)):
            with acting(actor):
                for wish in (
                    accounts.auth.api_keys(),
                    accounts.auth.create_api_key(NewApiKey("another", 1)),
                    accounts.auth.revoke_api_key(made.key.id),
                ):
                    with pytest.raises(refusal):
                        await wish
        assert (await access(accounts, made.secret)).active


@BOTH
async def test_nobody_has_more_keys_than_the_limit_however_many_ask_at_once(database: str, tmp_path: Path) -> None:
    async with accounts_on(database, tmp_path, api_keys_each=3) as accounts:
        ada = await accounts.person()
        made = await asyncio.gather(*(make(accounts, ada) for _ in range(8)), return_exceptions=True)
        assert sorted(type(each).__name__ for each in made) == ["IssuedApiKey"] * 3 + ["TooManyApiKeys"] * 5
        one = next(each for each in made if isinstance(each, IssuedApiKey))
        with acting(ada):
            await accounts.auth.revoke_api_key(one.key.id)
        await make(accounts, ada)
        with pytest.raises(TooManyApiKeys):
            await make(accounts, ada)


@BOTH
async def test_the_last_use_is_known_to_the_hour(database: str, tmp_path: Path) -> None:
    async with accounts_on(database, tmp_path) as accounts:
        ada = await accounts.person()
        made = await make(accounts, ada)

        async def last_used() -> object:
            with acting(ada):
                return (await accounts.auth.api_keys()).items[0].last_used_at

        hour = accounts.clock.now().replace(minute=0, second=0)
        for minutes, expected in ((0, hour), (55, hour), (1, hour + timedelta(hours=1))):
            accounts.clock.advance(timedelta(minutes=minutes))
            assert (await access(accounts, made.secret)).active
            assert await last_used() == expected


async def test_every_refusal_of_a_field_names_it(tmp_path: Path) -> None:
    async with accounts_on("sqlite", tmp_path) as accounts:
        ada = await accounts.person()
        with acting(ada):
            for name in ("", "x" * 101, "line\nbreak"):
                with pytest.raises(Error) as refused:
                    await accounts.auth.create_api_key(NewApiKey(name, 1))
                assert [error.field for error in refused.value.errors] == ["name"]
