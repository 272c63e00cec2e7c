"""Roles, grants and accounts of `auth` built by hand, on both databases."""

from __future__ import annotations

import asyncio
from pathlib import Path
from uuid import UUID, uuid4

import attrs
import pytest
from access_service import SERVICE, Accounts, accounts_on

from orion_core.context import ANONYMOUS, SYSTEM, Actor, acting
from orion_core.contracts.auth import AccessChanged, Auth, SessionRevoked
from orion_core.contracts.auth_access import (
    AccountDisabled,
    CannotGrant,
    LastAdministrator,
    NewResourceGrant,
    NewRole,
    NoSuchAccount,
    NoSuchGrant,
    NoSuchRole,
    Question,
    RoleChange,
    RoleChanged,
    RoleProtected,
    RoleTaken,
)
from orion_core.contracts.users import UserErased
from orion_core.errors import Error, Forbidden, Unauthenticated
from orion_core.testing.engines import rows, told

BOTH = pytest.mark.parametrize("database", ["sqlite", "postgresql"])
CLERK = NewRole("clerk", ("invoices:read", "invoices:write"), "writes invoices")


async def audit(accounts: Accounts) -> list[tuple[str, str, str]]:
    found = await rows(accounts.db, "SELECT action, outcome, reason FROM auth_audit_logs ORDER BY seq")
    return [(row["action"], row["outcome"], row["reason"]) for row in found]


async def administrators(accounts: Accounts) -> int:
    found = await rows(
        accounts.db,
        "SELECT COUNT(*) AS many FROM auth_role_holders h JOIN users u ON u.id = h.user_id "
        "WHERE h.role = 'admin' AND u.status = 'active'",
    )
    return int(found[0]["many"])


async def may(accounts: Accounts, who: Actor, permission: str, *resources: str, owned: tuple[str, ...] = ()) -> object:
    with acting(await accounts.signed_in(who)):
        answer = await accounts.auth.decide(Question(permission, resources, owned))
    return answer.allowed if len(resources) > 1 else answer.allowed[0]


@BOTH
async def test_a_role_gives_its_permissions_until_it_is_taken(database: str, tmp_path: Path) -> None:
    """A53."""
    async with accounts_on(database, tmp_path) as accounts:
        auth, root = accounts.auth, await accounts.person("admin")
        ada = await accounts.person()
        with acting(root):
            made = await auth.create_role(CLERK)
            await auth.assign_role(ada.user_id, "clerk")
            await auth.assign_role(ada.user_id, "clerk")
            held = await auth.roles_of(ada.user_id)

        assert (made.name, made.permissions, made.built_in) == ("clerk", ("invoices:read", "invoices:write"), False)
        assert (held.roles, held.permissions) == (("clerk",), ("invoices:read", "invoices:write"))
        assert await may(accounts, ada, "invoices:write", "invoice:42")
        assert not await may(accounts, ada, "invoices:delete", "invoice:42")

        with acting(root):
            await auth.change_role("clerk", RoleChange(("invoices:read",)))
            assert (await auth.roles_of(ada.user_id)).permissions == ("invoices:read",)
            await auth.unassign_role(ada.user_id, "clerk")
            await auth.unassign_role(ada.user_id, "clerk")
            assert (await auth.roles_of(ada.user_id)).permissions == ()

        assert await told({"auth": accounts.db}, RoleChanged) == [RoleChanged("clerk")]
        changed = await told({"auth": accounts.db}, AccessChanged)
        assert [event.user_id for event in changed if event.user_id == ada.user_id] == [ada.user_id] * 2


@BOTH
async def test_a_removed_role_is_taken_from_everybody_and_its_grants_go(database: str, tmp_path: Path) -> None:
    """A53."""
    async with accounts_on(database, tmp_path) as accounts:
        auth, root, ada = accounts.auth, await accounts.person("admin"), await accounts.person()
        with acting(root):
            await auth.create_role(CLERK)
            await auth.assign_role(ada.user_id, "clerk")
            await auth.grant(NewResourceGrant("memos:read", "memo:*", role="clerk"))
        assert await may(accounts, ada, "memos:read", "memo:1")

        with acting(root):
            await auth.delete_role("clerk")
            assert [role.name for role in (await auth.roles()).items] == ["admin"]
            assert (await auth.grants(None, "", "", 50)).items == ()
            with pytest.raises(NoSuchRole):
                await auth.delete_role("clerk")
        assert not await may(accounts, ada, "memos:read", "memo:1")
        assert not await may(accounts, ada, "invoices:read", "invoice:42")


@BOTH
async def test_what_is_not_there_or_protected_is_refused_by_name(database: str, tmp_path: Path) -> None:
    """A53."""
    async with accounts_on(database, tmp_path) as accounts:
        auth, ada = accounts.auth, await accounts.person()
        with acting(SYSTEM):
            await auth.create_role(CLERK)
            for name in ("clerk", "admin"):
                with pytest.raises(RoleTaken):
                    await auth.create_role(NewRole(name, ()))
            with pytest.raises(RoleProtected):
                await auth.change_role("admin", RoleChange(()))
            with pytest.raises(RoleProtected):
                await auth.delete_role("admin")
            for name in ("nobody", "\x00", "ADMIN"):
                with pytest.raises(NoSuchRole):
                    await auth.assign_role(ada.user_id, name)
                with pytest.raises(NoSuchRole):
                    await auth.grant(NewResourceGrant("memos:read", "memo:1", role=name))
            with pytest.raises(NoSuchAccount):
                await auth.assign_role(uuid4(), "clerk")
            with pytest.raises(NoSuchAccount):
                await auth.grant(NewResourceGrant("memos:read", "memo:1", user_id=uuid4()))
            with pytest.raises(NoSuchGrant):
                await auth.revoke_grant(uuid4())
            with pytest.raises(NoSuchAccount):
                await auth.disable_account(uuid4())
            with pytest.raises(NoSuchAccount):
                await auth.account_by_email("nobody@example.org")


async def test_only_who_may_manages(tmp_path: Path) -> None:
    """A53: denied by default, for services and API keys too."""
    async with accounts_on("sqlite", tmp_path) as accounts:
        auth, ada, root = accounts.auth, await accounts.person(), await accounts.person("admin")
        key = attrs.evolve(root, session="key:1", scopes=("*",))
        wishes = (
            lambda: auth.roles(),
            lambda: auth.role("admin"),
            lambda: auth.create_role(CLERK),
            lambda: auth.change_role("clerk", RoleChange(())),
            lambda: auth.delete_role("clerk"),
            lambda: auth.roles_of(ada.user_id),
            lambda: auth.assign_role(ada.user_id, "admin"),
            lambda: auth.unassign_role(root.user_id, "admin"),
            lambda: auth.grants(None, "", "", 50),
            lambda: auth.grant(NewResourceGrant("memos:read", "memo:1", user_id=ada.user_id)),
            lambda: auth.revoke_grant(uuid4()),
            lambda: auth.account(ada.user_id),
            lambda: auth.account_by_email("ada@example.org"),
            lambda: auth.disable_account(root.user_id),
            lambda: auth.enable_account(root.user_id),
        )
        for wish in wishes:
            for actor, refusal in (
                (ANONYMOUS, Unauthenticated),
                (ada, Forbidden),
                (SERVICE, Forbidden),
                (key, Forbidden),
            ):
                with acting(actor), pytest.raises(refusal):
                    await wish()
        assert await administrators(accounts) == 1


@BOTH
async def test_nobody_gives_or_takes_what_they_lack(database: str, tmp_path: Path) -> None:
    """A56."""
    async with accounts_on(database, tmp_path) as accounts:
        auth, root, ada = accounts.auth, await accounts.person("admin"), await accounts.person()
        with acting(root):
            await auth.create_role(CLERK)
            manages = ("roles:manage", "grants:manage", "accounts:manage", "invoices:*")
            await auth.create_role(NewRole("lead", manages))
            await auth.create_role(NewRole("auditor", ("audit:read",)))
            given = await auth.grant(NewResourceGrant("audit:read", "trail:1", user_id=ada.user_id))
        lead = await accounts.person("lead")

        with acting(lead):
            await auth.assign_role(ada.user_id, "clerk")
            await auth.create_role(NewRole("reader", ("invoices:read",)))
            await auth.grant(NewResourceGrant("invoices:*", "invoice:*", user_id=ada.user_id))
            wishes = (
                lambda: auth.assign_role(lead.user_id, "admin"),
                lambda: auth.assign_role(lead.user_id, "auditor"),
                lambda: auth.unassign_role(root.user_id, "admin"),
                lambda: auth.create_role(NewRole("more", ("invoices:read", "audit:read"))),
                lambda: auth.create_role(NewRole("more", ("*",))),
                lambda: auth.change_role("clerk", RoleChange(("audit:read",))),
                lambda: auth.change_role("auditor", RoleChange(())),
                lambda: auth.delete_role("auditor"),
                lambda: auth.grant(NewResourceGrant("audit:read", "trail:2", user_id=lead.user_id)),
                lambda: auth.grant(NewResourceGrant("audit:*", "trail:2", user_id=lead.user_id)),
                lambda: auth.grant(NewResourceGrant("audit:read", "trail:2", role="lead", effect="deny")),
                lambda: auth.revoke_grant(given.id),
                lambda: auth.disable_account(root.user_id),
            )
            for wish in wishes:
                with pytest.raises(CannotGrant, match="you lack"):
                    await wish()

        with acting(root):
            assert (await auth.roles_of(lead.user_id)).permissions == tuple(sorted(manages))
            assert (await auth.roles_of(root.user_id)).roles == ("admin",)
        denied = [line for line in await audit(accounts) if line == ("access_denied", "failure", "cannot_grant")]
        assert len(denied) == len(wishes)


@BOTH
async def test_the_last_administrator_stays(database: str, tmp_path: Path) -> None:
    """A56."""
    async with accounts_on(database, tmp_path) as accounts:
        auth, root, second = accounts.auth, await accounts.person("admin"), await accounts.person("admin")
        with acting(root):
            await auth.disable_account(second.user_id)
            # One whose account is closed looks after nothing.
            for wish in (auth.unassign_role(root.user_id, "admin"), auth.disable_account(root.user_id)):
                with pytest.raises(LastAdministrator):
                    await wish
            await auth.enable_account(second.user_id)
            await auth.unassign_role(root.user_id, "admin")
        assert await administrators(accounts) == 1


@BOTH
async def test_administrators_who_remove_each_other_at_once_leave_one(database: str, tmp_path: Path) -> None:
    """A56."""
    async with accounts_on(database, tmp_path) as accounts:
        auth = accounts.auth

        async def attempt(who: Actor, other: Actor, turn: int) -> Error | None:
            with acting(who):
                try:
                    if turn % 2:
                        await auth.disable_account(other.user_id)
                    else:
                        await auth.unassign_role(other.user_id, "admin")
                except LastAdministrator as error:
                    return error
            return None

        people = [await accounts.person("admin") for _ in range(2)]
        for turn in range(12):
            refused = await asyncio.gather(
                attempt(people[0], people[1], turn), attempt(people[1], people[0], turn // 2)
            )
            assert [error is None for error in refused].count(True) == 1
            assert await administrators(accounts) == 1
            with acting(SYSTEM):
                for person in people:
                    await auth.enable_account(person.user_id)
                    await auth.assign_role(person.user_id, "admin")


@BOTH
async def test_a_role_that_is_removed_while_it_is_given_stays_with_nobody(database: str, tmp_path: Path) -> None:
    async with accounts_on(database, tmp_path) as accounts:
        auth, root = accounts.auth, await accounts.person("admin")
        people = [await accounts.person() for _ in range(5)]
        with acting(root):
            for _ in range(5):
                await auth.create_role(CLERK)
                wishes = [auth.assign_role(person.user_id, "clerk") for person in people]
                wishes.insert(2, auth.delete_role("clerk"))
                answers = await asyncio.gather(*wishes, return_exceptions=True)
                assert all(answer is None or isinstance(answer, NoSuchRole) for answer in answers)
                assert await rows(accounts.db, "SELECT * FROM auth_role_holders WHERE role = 'clerk'") == []


@BOTH
async def test_grants_allow_deny_and_reach_as_far_as_they_say(database: str, tmp_path: Path) -> None:
    """A53."""
    async with accounts_on(database, tmp_path) as accounts:
        auth, ada = accounts.auth, await accounts.person()
        with acting(SYSTEM):
            await auth.create_role(NewRole("reader", ("memos:read",)))
            one = await auth.grant(NewResourceGrant("invoices:read", "invoice:1", user_id=ada.user_id))
            again = await auth.grant(NewResourceGrant("invoices:read", "invoice:1", user_id=ada.user_id))
        assert one == again
        two = ("invoice:1", "invoice:2")
        assert await may(accounts, ada, "invoices:read", *two) == (True, False)
        assert not await may(accounts, ada, "invoices:write", "invoice:1")
        assert not await may(accounts, ada, "invoices:read")

        with acting(SYSTEM):
            await auth.assign_role(ada.user_id, "reader")
            await auth.grant(NewResourceGrant("invoices:*", "invoice:*", role="reader"))
            await auth.grant(NewResourceGrant("memos:*", "memo:7", user_id=ada.user_id, effect="deny"))
            denied = await auth.grant(NewResourceGrant("*", "invoice:2", role="reader", effect="deny"))
        assert await may(accounts, ada, "invoices:write", *two) == (True, False)
        assert await may(accounts, ada, "invoices:write", *two, owned=("invoice:2",)) == (True, False)
        assert await may(accounts, ada, "memos:read", "memo:6", "memo:7", "memo:70") == (True, False, True)

        with acting(SYSTEM):
            await auth.revoke_grant(denied.id)
        assert await may(accounts, ada, "invoices:write", *two) == (True, True)


async def test_what_is_ones_own_needs_no_grant(tmp_path: Path) -> None:
    """A53: a key goes as far as its scopes, for what is given and for what is owned."""
    async with accounts_on("sqlite", tmp_path) as accounts:
        ada = await accounts.person()
        with acting(SYSTEM):
            await accounts.auth.grant(NewResourceGrant("invoices:*", "invoice:9", user_id=ada.user_id))
        question = Question("invoices:write", ("invoice:1", "invoice:2", "invoice:9"), owned=("invoice:2",))
        expected: dict[tuple[str, ...] | None, tuple[bool, ...]] = {
            None: (False, True, True),
            (): (False, False, False),
            ("own:read",): (False, False, False),
            ("own:write",): (False, True, False),
            ("invoices:read",): (False, False, False),
            ("invoices:write",): (False, False, True),
        }
        for scopes, allowed in expected.items():
            with acting(attrs.evolve(ada, granted=True, scopes=scopes)):
                assert (await accounts.auth.decide(question)).allowed == allowed, scopes


@BOTH
async def test_a_denied_attempt_is_recorded_with_the_id_of_its_reason(database: str, tmp_path: Path) -> None:
    """A55."""
    async with accounts_on(database, tmp_path) as accounts:
        ada = await accounts.person()
        with acting(SYSTEM):
            await accounts.auth.grant(NewResourceGrant("*", "memo:1", user_id=ada.user_id, effect="deny"))
        before = len(await audit(accounts))
        with acting(attrs.evolve(ada, granted=True)):
            await accounts.auth.decide(Question("memos:read", ("memo:1", "memo:2")))
            assert len(await audit(accounts)) == before, "asking is no attempt"
            answer = await accounts.auth.decide(Question("memos:read", ("memo:1", "memo:2"), attempt=True))
        assert answer.reasons == ("denied_by_grant", "no_permission")
        assert (await audit(accounts))[before:] == [
            ("access_denied", "failure", "denied_by_grant memos:read memo:1"),
            ("access_denied", "failure", "no_permission memos:read memo:2"),
        ]


@BOTH
async def test_grants_are_listed_page_by_page(database: str, tmp_path: Path) -> None:
    async with accounts_on(database, tmp_path) as accounts:
        auth, ada = accounts.auth, await accounts.person()
        with acting(SYSTEM):
            await auth.create_role(CLERK)
            made = [
                await auth.grant(NewResourceGrant("memos:read", f"memo:{number}", user_id=ada.user_id))
                for number in range(5)
            ]
            of_role = await auth.grant(NewResourceGrant("memos:read", "memo:0", role="clerk"))
            first = await auth.grants(ada.user_id, "", "", 3)
            second = await auth.grants(ada.user_id, "", first.next_cursor, 3)
            assert ([*first.items, *second.items], second.next_cursor) == (made, "")
            assert (await auth.grants(None, "clerk", "", 3)).items == (of_role,)
            assert len((await auth.grants(None, "", "", 50)).items) == 6


@BOTH
async def test_closing_an_account_ends_its_sessions_and_opening_it_brings_none_back(
    database: str, tmp_path: Path
) -> None:
    """A34, A30."""
    async with accounts_on(database, tmp_path) as accounts:
        auth, root, ada = accounts.auth, await accounts.person("admin"), await accounts.person()
        async with accounts.db.transaction():
            session = (await auth._start_session(ada.user_id, 1, "token")).grant.session_id
        assert await _active(auth, session, 1)

        with acting(root):
            await auth.disable_account(ada.user_id)
            await auth.disable_account(ada.user_id)
            assert (await auth.account(ada.user_id)).status == "disabled"
        assert not await _active(auth, session, 1)
        assert not await _active(auth, session, 2)
        with acting(attrs.evolve(ada, session=str(session))), pytest.raises(Unauthenticated):
            await auth.me()
        databases = {"auth": accounts.db}
        assert [event.user_id for event in await told(databases, AccountDisabled)] == [ada.user_id]
        assert [event.session_id for event in await told(databases, SessionRevoked)] == [session]

        with acting(root):
            await auth.enable_account(ada.user_id)
            assert (await auth.account(ada.user_id)).status == "active"
        assert not any([await _active(auth, session, version) for version in (1, 2, 3)])


@BOTH
async def test_an_erased_account_holds_nothing(database: str, tmp_path: Path) -> None:
    """U36."""
    async with accounts_on(database, tmp_path) as accounts:
        auth, ada = accounts.auth, await accounts.person("admin")
        with acting(SYSTEM):
            await auth.grant(NewResourceGrant("memos:read", "memo:1", user_id=ada.user_id))
        async with accounts.db.transaction():
            await auth.erase_account(UserErased(ada.user_id, accounts.clock.now()))

        for table in ("auth_role_holders", "auth_grants", "auth_api_keys"):
            assert await rows(accounts.db, f"SELECT * FROM {table}") == []
        with acting(SYSTEM):
            for wish in (auth.account(ada.user_id), auth.enable_account(ada.user_id), auth.roles_of(ada.user_id)):
                with pytest.raises(NoSuchAccount):
                    await wish


async def _active(auth: Auth, session: UUID, version: int) -> bool:
    with acting(SERVICE):
        return (await auth.access(session, version)).active
