"""The service `auth` built by hand: on SQLite, and where databases differ on PostgreSQL."""

from __future__ import annotations

import asyncio
import hashlib
import json
import unicodedata
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import bcrypt
import jwt
import pytest
from auth_by_hand import (
    ADA,
    BOTH,
    CLIENT,
    MIGRATIONS,
    PASSWORD,
    SERVICE,
    access,
    audit,
    auth,
    auth_on,
    claims,
    entries,
    everything,
    person,
    published,
)

from orion_core.context import ANONYMOUS, SYSTEM, Actor, acting, use
from orion_core.contracts.auth import (
    Access,
    AccessChanged,
    EmailTaken,
    HashingBusy,
    InvalidCredentials,
    InvalidGrant,
    Login,
    PasswordTooLong,
    Register,
    SessionRevoked,
    SessionStarted,
    Tokens,
    UserRegistered,
)
from orion_core.contracts.users import UserErased
from orion_core.errors import Forbidden, Invalid, Unauthenticated
from orion_core.migrate_new import drift
from orion_core.testing.engines import rows
from orion_plugins.auth import service as service_module
from orion_plugins.auth.plugin import orion_plugin
from orion_plugins.auth.service import AuthService
from orion_plugins.auth.sessions import Sessions


async def test_the_tables_are_those_of_the_migrations() -> None:
    assert await drift("auth", orion_plugin().tables, MIGRATIONS) == []


# Opening accounts


async def test_an_account_is_opened_told_and_audited_in_one_transaction(tmp_path: Path) -> None:
    """A8, A57."""
    async with auth(tmp_path) as service:
        with use(CLIENT):
            account = await service.register(ADA)

        [event] = await published(service, UserRegistered)
        [row] = await entries(service)
        assert account.email == "ada@x.org"
        assert (event.user_id, event.email, event.name) == (account.id, "ada@x.org", "Ada")
        assert (row.user_id, row.action, row.outcome) == (account.id, "registered", "success")
        assert (row.ip_address, row.user_agent) == ("192.0.2.7", "test/1")
        assert (row.request_id, row.actor) == ("request-1", "anonymous")


async def test_signing_up_opens_account_and_session(tmp_path: Path) -> None:
    """A8, A32."""
    async with auth(tmp_path) as service:
        with use(CLIENT):
            tokens = await service.sign_up(ADA)

        [row] = await rows(service.db, "SELECT * FROM sessions")
        [event] = await published(service, SessionStarted)
        assert (event.session_id, event.user_id, event.method) == (row["id"], tokens.user.id, "pwd")
        assert row["token_hash"] == hashlib.sha256(tokens.refresh_token.encode()).hexdigest()
        assert (row["ip_address"], row["user_agent"], json.loads(row["amr"])) == ("192.0.2.7", "test/1", ["pwd"])
        assert row["expires_at"] - row["created_at"] == timedelta(days=30)
        assert row["idle_expires_at"] - row["created_at"] == timedelta(days=7)
        assert (tokens.token_type, tokens.expires_in) == ("Bearer", 3600)
        assert (await access(service, tokens)).active


async def test_nothing_remains_of_a_registration_that_fails_in_the_middle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A8."""

    async def fail(*_: Any, **__: Any) -> None:
        raise OSError("the disk is gone")

    async with auth(tmp_path) as service:
        before = await everything(service)
        monkeypatch.setattr(Sessions, "start", fail)
        with pytest.raises(OSError, match="disk"):
            await service.sign_up(ADA)
        assert await everything(service) == before


async def test_a_taken_address_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    """A8."""
    async with auth(tmp_path) as service:
        await service.register(ADA)
        before = await everything(service)

        for call in (service.register, service.sign_up):
            with pytest.raises(EmailTaken):
                await call(Register("ADA@X.ORG", "another password"))

        assert await everything(service) == before


@BOTH
async def test_fifty_registrations_of_one_address_in_many_forms_end_as_one_account(
    database: str, tmp_path: Path
) -> None:
    """U7."""
    address = "zoë.müller@bücher.example"
    forms = [
        address,
        address.upper(),
        unicodedata.normalize("NFD", address),
        "\uff5a" + address[1:],  # a full-width z
        address.replace("bücher", "XN--BCHER-KVA"),
    ]
    async with auth_on(database, tmp_path) as service:
        outcomes = await asyncio.gather(
            *(service.register(Register(forms[index % 5], PASSWORD)) for index in range(50)), return_exceptions=True
        )

        opened = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
        refused = [outcome for outcome in outcomes if isinstance(outcome, EmailTaken)]
        assert (len(opened), len(refused)) == (1, 49)
        assert len(await published(service, UserRegistered)) == 1
        assert len(await rows(service.db, "SELECT id FROM users")) == 1


async def test_a_new_password_that_is_too_long_is_refused_before_any_hashing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A3."""

    def never(*_: Any) -> bytes:
        raise AssertionError("hashed")

    monkeypatch.setattr(bcrypt, "hashpw", never)
    async with auth(tmp_path) as service:
        for call in (service.register, service.sign_up):
            with pytest.raises(PasswordTooLong):
                await call(Register("ada@x.org", "ä" * 513))


async def test_an_address_that_only_looks_like_one_is_refused_naming_the_field(tmp_path: Path) -> None:
    """U7."""
    async with auth(tmp_path) as service:
        with pytest.raises(Invalid) as refused:
            await service.register(Register("a\u200bda@x.org", PASSWORD))
        assert [error.field for error in refused.value.errors] == ["email"]


# Signing in


async def test_signing_in_opens_a_session_of_its_own(tmp_path: Path) -> None:
    """A33."""
    async with auth(tmp_path) as service:
        first = await service.sign_up(ADA)
        second = await service.login(Login(" ADA@x.org", PASSWORD))

        assert first.user == second.user
        assert claims(first)["sid"] != claims(second)["sid"]
        assert (await access(service, first)).active
        assert (await access(service, second)).active


@pytest.mark.parametrize(
    ("login", "reason"),
    [
        pytest.param(Login("ada@x.org", "wrong password"), "wrong_password", id="wrong password"),
        pytest.param(Login("eve@x.org", PASSWORD), "unknown_account", id="unknown account"),
        pytest.param(Login("no address", PASSWORD), "unknown_account", id="no address"),
        pytest.param(Login("closed@x.org", PASSWORD), "account_closed", id="closed account"),
        pytest.param(Login("none@x.org", PASSWORD), "no_password", id="no password"),
        pytest.param(Login("none@x.org", ""), "no_password", id="no password, empty one tried"),
        pytest.param(Login("ada@x.org", "x" * 100_000), "wrong_password", id="password too long"),
        pytest.param(Login("ada@x.org", "\ud800"), "wrong_password", id="password that is no text"),
    ],
)
async def test_every_refused_login_is_the_same_and_costs_one_bcrypt_and_one_row(
    login: Login, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A3, A7, A57."""
    computed: list[bytes] = []
    check = bcrypt.checkpw

    def counted(secret: bytes, stored: bytes) -> bool:
        computed.append(stored[:7])
        return check(secret, stored)

    async with auth(tmp_path) as service:
        for email in ("ada@x.org", "closed@x.org", "none@x.org"):
            await service.register(Register(email, PASSWORD))
        await service.db.fetch("UPDATE users SET status = 'disabled' WHERE email = 'closed@x.org'")
        await service.db.fetch("UPDATE users SET password_hash = '' WHERE email = 'none@x.org'")
        before = await everything(service)
        monkeypatch.setattr(bcrypt, "checkpw", counted)

        with pytest.raises(InvalidCredentials) as refused:
            await service.login(login)

        assert (refused.value.status, refused.value.code) == (401, "auth.invalid_credentials")
        assert str(refused.value) == "the email address or the password is wrong"
        assert (refused.value.errors, refused.value.retry_after) == ((), None)
        assert computed == [b"$2b$10$"]
        after = await everything(service)
        assert len(after.pop("auth_audit_logs")) == len(before.pop("auth_audit_logs")) + 1
        assert after == before
        assert (await audit(service))[-1] == ("signed_in", "failure", reason)


async def test_an_old_hash_is_renewed_when_its_owner_signs_in(tmp_path: Path) -> None:
    """A1."""
    async with auth(tmp_path) as service:
        await service.register(ADA)
        old = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
        await service.db.fetch("UPDATE users SET password_hash = $1", old)

        await asyncio.gather(*(service.login(Login("ada@x.org", PASSWORD)) for _ in range(4)))

        [row] = await rows(service.db, "SELECT password_hash FROM users")
        assert row["password_hash"].startswith(f"orion1${service.keyring.pepper[0].kid}$2b$10$")
        assert await service.login(Login("ada@x.org", PASSWORD))


@asynccontextmanager
async def login_under_way(service: AuthService, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[asyncio.Future[Any]]:
    """Ada's login, which waits in its hashing for the end of the block."""
    verify = service_module.verify_password
    hashing, ended = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(*args: Any) -> bool:
        loop.call_soon_threadsafe(hashing.set)
        asyncio.run_coroutine_threadsafe(ended.wait(), loop).result(10)
        return verify(*args)

    monkeypatch.setattr(service_module, "verify_password", slow)
    login = asyncio.ensure_future(service.login(Login("ada@x.org", PASSWORD)))
    await hashing.wait()
    yield login
    ended.set()


async def test_a_login_whose_account_changed_while_hashing_opens_no_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A28, A34."""
    async with auth(tmp_path) as service:
        await service.register(ADA)
        async with login_under_way(service, monkeypatch) as login:
            await service.db.fetch("UPDATE users SET version = version + 1")

        with pytest.raises(InvalidCredentials):
            await login
        assert await rows(service.db, "SELECT id FROM sessions") == []


@BOTH
async def test_concurrent_logins_of_one_person_all_succeed(database: str, tmp_path: Path) -> None:
    """A12."""
    async with auth_on(database, tmp_path) as service:
        await service.register(ADA)

        found = await asyncio.gather(*(service.login(Login("ada@x.org", PASSWORD)) for _ in range(10)))

        assert len({claims(tokens)["sid"] for tokens in found}) == 10


async def test_more_passwords_than_the_queue_holds_are_refused_and_the_rest_goes_through(tmp_path: Path) -> None:
    """A6."""
    async with auth(tmp_path, hashing_queue=0) as service:
        outcomes = await asyncio.gather(
            *(service.register(Register(f"p{index}@x.org", PASSWORD)) for index in range(20)), return_exceptions=True
        )

        refused = [outcome for outcome in outcomes if isinstance(outcome, HashingBusy)]
        assert refused
        assert len(refused) < 20
        assert all(error.retry_after and error.retry_after >= 1 for error in refused)
        assert len(await rows(service.db, "SELECT id FROM users")) == 20 - len(refused)


# Access tokens


async def test_the_access_token_is_verified_by_the_published_key(tmp_path: Path) -> None:
    """A15, A18."""
    async with auth(tmp_path) as service:
        tokens = await service.sign_up(ADA)

        [key] = await service.keys()
        jwk = jwt.PyJWK({"kty": key.kty, "crv": key.crv, "x": key.x, "alg": key.alg})
        found = jwt.decode(tokens.access_token, jwk, audience="orion", issuer="https://x.org")
        assert jwt.get_unverified_header(tokens.access_token)["kid"] == key.kid
        assert (found["sub"], found["ver"], found["amr"]) == (str(tokens.user.id), 1, ["pwd"])
        assert found["exp"] - found["iat"] == 3600


async def test_no_personal_data_and_no_secret_is_in_tokens_rows_and_events(tmp_path: Path) -> None:
    """A15, A20, A57."""
    async with auth(tmp_path) as service:
        tokens = await service.sign_up(ADA)
        await service.refresh(tokens.refresh_token)

        assert "ada" not in json.dumps(claims(tokens)).casefold()
        stored = repr(await everything(service))
        for secret in (PASSWORD, tokens.refresh_token, tokens.access_token):
            assert secret not in stored
        assert PASSWORD not in repr(ADA)
        assert tokens.refresh_token not in repr(tokens)


async def test_access_ends_with_another_epoch_a_closed_account_and_an_unknown_session(tmp_path: Path) -> None:
    """A33, A34."""
    async with auth(tmp_path) as service:
        tokens = await service.sign_up(ADA)
        session = UUID(claims(tokens)["sid"])
        with acting(SERVICE):
            assert (await service.access(session, 1)).active
            assert not (await service.access(session, 2)).active
            assert not (await service.access(uuid4(), 1)).active
            await service.db.fetch("UPDATE users SET status = 'disabled'")
            assert await service.access(session, 1) == Access(active=False)


@pytest.mark.parametrize("asker", [ANONYMOUS, Actor("user", str(uuid4()))])
async def test_only_services_may_ask_what_a_session_may_do(asker: Actor, tmp_path: Path) -> None:
    """A53."""
    async with auth(tmp_path) as service:
        with acting(asker), pytest.raises(Forbidden):
            await service.access(uuid4(), 1)


# Who one is


async def test_me_is_the_callers_account_with_roles_and_permissions(tmp_path: Path) -> None:
    """A53."""
    async with auth(tmp_path) as service:
        tokens = await service.sign_up(ADA)
        with acting(person(tokens)):
            me = await service.me()
            assert (me.id, me.email, me.roles, me.permissions) == (tokens.user.id, "ada@x.org", (), ())
        with acting(ANONYMOUS), pytest.raises(Unauthenticated):
            await service.me()
        with acting(Actor("user", str(uuid4()))), pytest.raises(Unauthenticated):
            await service.me()


async def test_an_administrator_is_made_with_all_permissions(tmp_path: Path) -> None:
    """A53."""
    async with auth(tmp_path) as service:
        with acting(SYSTEM):
            account = await service.create_admin(ADA)
        tokens = await service.login(Login("ada@x.org", PASSWORD))

        found = await access(service, tokens)
        assert (found.roles, found.permissions) == (("admin",), ("*",))
        assert tokens.user == account
        assert len(await published(service, UserRegistered)) == 1


async def test_an_existing_account_gets_the_role_once_and_keeps_password_and_sessions(tmp_path: Path) -> None:
    """A37, A53."""
    async with auth(tmp_path) as service:
        tokens = await service.sign_up(ADA)
        with acting(SYSTEM):
            for _ in range(2):
                account = await service.create_admin(Register("ADA@X.ORG", "another password"))

        assert account == tokens.user
        assert (await access(service, tokens)).roles == ("admin",)
        assert await service.login(Login("ada@x.org", PASSWORD))
        assert [event.user_id for event in await published(service, AccessChanged)] == [account.id]
        assert ("role_granted", "success", "admin") in await audit(service)


@pytest.mark.parametrize(
    "asker", [ANONYMOUS, SERVICE, Actor("user", str(uuid4()), roles=("admin",), permissions=("*",))]
)
async def test_nobody_but_the_system_makes_administrators(asker: Actor, tmp_path: Path) -> None:
    """A53, A56."""
    async with auth(tmp_path) as service:
        with acting(asker), pytest.raises(Forbidden):
            await service.create_admin(ADA)
        assert await rows(service.db, "SELECT id FROM users") == []


async def test_two_who_make_the_same_administrator_at_once_both_succeed(tmp_path: Path) -> None:
    """A53."""
    async with auth(tmp_path) as service:
        with acting(SYSTEM):
            accounts = await asyncio.gather(*(service.create_admin(ADA) for _ in range(4)))
        assert len(set(accounts)) == 1
        assert len(await rows(service.db, "SELECT id FROM users")) == 1


# Erasing


async def erase(service: AuthService, tokens: Tokens) -> None:
    async with service.db.transaction():
        await service.erase_account(UserErased(tokens.user.id, service.clock.now()))


@BOTH
async def test_of_an_erased_account_only_ids_and_times_are_left(database: str, tmp_path: Path) -> None:
    """U36."""
    async with auth_on(database, tmp_path) as service:
        with use(CLIENT):
            first = await service.sign_up(ADA)
            await service.login(Login(ADA.email, PASSWORD))
            with pytest.raises(InvalidCredentials):
                await service.login(Login(ADA.email, "wrong horse"))

        await erase(service, first)

        stored = await everything(service)
        del stored["orion_outbox"]  # core blanks that
        text = repr(stored)
        assert [word for word in ("ada@x.org", "192.0.2.7", "test/1", "$2b$") if word in text.lower()] == []
        assert stored["refresh_tokens"] == []
        [account] = stored["users"]
        assert (account["id"], account["status"]) == (first.user.id, "erased")
        assert {row["revoked_reason"] for row in stored["sessions"]} == {"erased"}
        assert (await audit(service))[-1] == ("account_erased", "success", "")
        assert len(await audit(service)) == 5


@BOTH
async def test_an_erased_account_opens_nothing_and_its_address_is_free(database: str, tmp_path: Path) -> None:
    """U36."""
    async with auth_on(database, tmp_path) as service:
        tokens = await service.sign_up(ADA)

        for _ in range(2):
            await erase(service, tokens)

        assert not (await access(service, tokens)).active
        with pytest.raises(InvalidGrant):
            await service.refresh(tokens.refresh_token)
        with pytest.raises(InvalidCredentials):
            await service.login(Login(ADA.email, PASSWORD))
        with acting(person(tokens)), pytest.raises(Unauthenticated):
            await service.me()
        assert [event.reason for event in await published(service, SessionRevoked)] == ["erased"]
        assert [event.user_id for event in await published(service, AccessChanged)] == [tokens.user.id]
        again = await service.register(ADA)
        assert again.id != tokens.user.id


@BOTH
async def test_a_login_under_way_leaves_no_trace_of_who_is_erased_meanwhile(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """U36."""
    async with auth_on(database, tmp_path) as service:
        tokens = await service.sign_up(ADA)
        with use(CLIENT):
            async with login_under_way(service, monkeypatch) as login:
                await erase(service, tokens)

        with pytest.raises(InvalidCredentials):
            await login
        found = await entries(service, outcome="failure")
        assert [(row.user_id, row.ip_address) for row in found] == [(None, "192.0.2.7")]


async def test_erasing_somebody_who_has_no_account_changes_nothing(tmp_path: Path) -> None:
    """U36."""
    async with auth(tmp_path) as service:
        tokens = await service.sign_up(ADA)
        before = await everything(service)
        async with service.db.transaction():
            await service.erase_account(UserErased(UUID(int=7), service.clock.now()))

        assert await everything(service) == before
        assert (await access(service, tokens)).active
