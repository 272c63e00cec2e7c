"""The audit log: a chain that shows every change, refuses it as well as a database can, and still forgets people."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import attrs
import pytest
from audit_kit import ADA, BOTH, CLIENT, PASSWORD, auth_on, entries, person

from orion_core.context import ANONYMOUS, SYSTEM, Actor, acting, use
from orion_core.contracts.auth import InvalidCredentials, Login, Register, Tokens
from orion_core.contracts.auth_audit import AuditAnchor, AuditQuery, AuditReport
from orion_core.contracts.users import UserErased
from orion_core.errors import Forbidden, Invalid, Malformed, Unauthenticated
from orion_core.testing.engines import rows
from orion_plugins.auth import audit_verification
from orion_plugins.auth.audit import record, record_reading
from orion_plugins.auth.dialect import POSTGRES_DOWN, SQLITE_DOWN
from orion_plugins.auth.service import AuthService

FORGED = """
INSERT INTO auth_audit_logs (id, seq, hash, action, timestamp, outcome, reason, actor, impersonator, method, fields,
    purpose, origin, note)
SELECT '00000000-0000-0000-0000-000000000009', 4, hash, 'forged', timestamp, outcome, reason, actor, '', '', '[]', '',
    '', '' FROM auth_audit_logs WHERE seq = 3
"""
TRIGGERS = {"sqlite": SQLITE_DOWN, "postgresql": POSTGRES_DOWN}


async def verified(service: AuthService, *anchors: AuditAnchor) -> AuditReport:
    with acting(SYSTEM):
        return await service.verify_audit(anchors)


async def anchored(service: AuthService) -> AuditAnchor:
    with acting(SYSTEM):
        return await service.audit_anchor()


async def filled(service: AuthService, count: int = 8) -> None:
    for number in range(count):
        await record(f"thing_{number}", service.clock.now(), user_id=UUID(int=number % 3 + 1))


async def tamper(service: AuthService, *statements: str) -> None:
    """Change the log as somebody with all rights on the database could: the triggers go first."""
    for statement in (*TRIGGERS[service.db.dialect.name], *statements):
        await service.db.fetch(statement)


def kinds(report: AuditReport) -> list[tuple[int, str]]:
    return [(fault.seq, fault.kind) for fault in report.faults]


# The chain


@BOTH
async def test_what_happened_is_one_chain_without_gaps(database: str, tmp_path: Path) -> None:
    """A57, A58."""
    async with auth_on(database, tmp_path) as service:
        with use(CLIENT):
            await service.sign_up(ADA)
            with pytest.raises(InvalidCredentials):
                await service.login(Login("ada@x.org", "wrong password"))
        report = await verified(service)

        stored = await rows(service.db, "SELECT seq, action, hash FROM auth_audit_logs ORDER BY seq")
        assert [(row["seq"], row["action"]) for row in stored] == [
            (1, "registered"),
            (2, "signed_in"),
            (3, "signed_in"),
        ]
        assert (report.checked, report.seq, report.hash, report.faults) == (3, 3, stored[-1]["hash"], ())
        assert len({row["hash"] for row in stored}) == 3


@BOTH
async def test_many_at_once_continue_one_chain(database: str, tmp_path: Path) -> None:
    """A58: each entry has one predecessor, whoever else writes."""
    async with auth_on(database, tmp_path) as service:

        async def act(number: int) -> None:
            async with service.db.transaction():
                await record(f"first_{number}", service.clock.now(), user_id=UUID(int=number + 1))
                await record(f"second_{number}", service.clock.now(), user_id=UUID(int=number + 1))

        await asyncio.gather(*(act(number) for number in range(20)))
        report = await verified(service)

        stored = await rows(service.db, "SELECT action FROM auth_audit_logs ORDER BY seq")
        pairs = [(stored[at]["action"], stored[at + 1]["action"]) for at in range(0, 40, 2)]
        assert (report.checked, report.faults) == (40, ())
        assert sorted(pairs) == sorted((f"first_{number}", f"second_{number}") for number in range(20))


@BOTH
async def test_what_is_rolled_back_leaves_no_entry(database: str, tmp_path: Path) -> None:
    """A58."""
    async with auth_on(database, tmp_path) as service:

        async def fail() -> None:
            async with service.db.transaction():
                await record("never", service.clock.now())
                raise OSError("the disk is gone")

        with pytest.raises(OSError, match="disk"):
            await fail()
        await record("done", service.clock.now())

        assert [row["action"] for row in await rows(service.db, "SELECT action FROM auth_audit_logs")] == ["done"]
        assert (await verified(service)).checked == 1


@BOTH
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE auth_audit_logs SET outcome = 'success' WHERE seq = 1",
        "UPDATE auth_audit_logs SET hash = hash",
        "DELETE FROM auth_audit_logs WHERE seq = 3",
        "DELETE FROM auth_audit_logs",
        "DELETE FROM auth_audit_head",
    ],
)
async def test_the_database_refuses_to_change_the_log(database: str, statement: str, tmp_path: Path) -> None:
    """A58."""
    async with auth_on(database, tmp_path) as service:
        await filled(service, 3)
        with pytest.raises(Exception, match="append-only"):
            await service.db.fetch(statement)

        assert (await verified(service)).faults == ()


@pytest.mark.parametrize(
    ("database", "statement"),
    [
        ("sqlite", "INSERT OR REPLACE INTO auth_audit_logs SELECT * FROM auth_audit_logs WHERE seq = 2"),
        ("postgresql", "TRUNCATE auth_audit_logs"),
        ("postgresql", "TRUNCATE auth_audit_head"),
    ],
)
async def test_nor_is_there_a_way_around(database: str, statement: str, tmp_path: Path) -> None:
    """A58."""
    async with auth_on(database, tmp_path) as service:
        await filled(service, 3)
        with pytest.raises(Exception, match="append-only"):
            await service.db.fetch(statement)

        assert (await verified(service)).checked == 3


@BOTH
@pytest.mark.parametrize(
    ("statements", "found"),
    [
        pytest.param(["UPDATE auth_audit_logs SET outcome = 'failure' WHERE seq = 4"], [(4, "changed")], id="outcome"),
        pytest.param(["UPDATE auth_audit_logs SET user_id = NULL WHERE seq = 4"], [(4, "changed")], id="subject"),
        pytest.param(["UPDATE auth_audit_logs SET origin = '' WHERE seq = 4"], [(4, "changed")], id="origin"),
        pytest.param(
            ["UPDATE auth_audit_logs SET hash = 'f' WHERE seq = 4"],
            [(4, "changed"), (5, "changed")],
            id="hash",
        ),
        pytest.param(["DELETE FROM auth_audit_logs WHERE seq = 4"], [(4, "missing")], id="one removed"),
        pytest.param(["DELETE FROM auth_audit_logs WHERE seq <= 3"], [(1, "missing")], id="the beginning removed"),
        pytest.param(["DELETE FROM auth_audit_logs WHERE seq > 6"], [(7, "missing")], id="the end removed"),
        pytest.param(
            [
                "UPDATE auth_audit_logs SET seq = 100 WHERE seq = 4",
                "UPDATE auth_audit_logs SET seq = 4 WHERE seq = 5",
                "UPDATE auth_audit_logs SET seq = 5 WHERE seq = 100",
            ],
            [(4, "changed"), (5, "changed"), (6, "changed")],
            id="two swapped",
        ),
        pytest.param(
            [
                "UPDATE auth_audit_logs SET seq = seq + 100 WHERE seq > 3",
                "UPDATE auth_audit_logs SET seq = seq - 99 WHERE seq > 100",
                FORGED,
                "UPDATE auth_audit_head SET seq = 9",
            ],
            [(number, "changed") for number in range(4, 10)],
            id="one inserted",
        ),
        pytest.param(
            ["UPDATE auth_audit_head SET hash = 'x'"],
            [(8, "head")],
            id="head",
        ),
        pytest.param(["UPDATE auth_audit_head SET seq = 5"], [(6, "head"), (5, "head")], id="head set back"),
    ],
)
async def test_verification_finds_every_change(
    database: str, statements: list[str], found: list[tuple[int, str]], tmp_path: Path
) -> None:
    """A58: edits, insertions, deletions and reordering."""
    async with auth_on(database, tmp_path) as service:
        await filled(service)
        if database == "postgresql":
            statements = [each.replace("'00000000", "uuid '00000000") for each in statements]
        await tamper(service, *statements)

        assert kinds(await verified(service)) == found


async def test_an_entry_that_cannot_be_read_hides_no_other_fault(tmp_path: Path) -> None:
    """A58: SQLite keeps whatever it is given."""
    async with auth_on("sqlite", tmp_path) as service:
        await filled(service)
        await tamper(
            service,
            "UPDATE auth_audit_logs SET timestamp = 'yesterday' WHERE seq = 3",
            "UPDATE auth_audit_logs SET outcome = 'failure' WHERE seq = 6",
        )

        assert set(kinds(await verified(service))) >= {(3, "unreadable"), (6, "changed")}


@BOTH
async def test_an_anchor_reveals_a_tail_that_was_cut_with_its_head(database: str, tmp_path: Path) -> None:
    """A58."""
    async with auth_on(database, tmp_path) as service:
        await filled(service, 4)
        early = await anchored(service)
        await filled(service, 4)
        late = await anchored(service)
        assert (early.seq, late.seq) == (4, 8)
        assert (await verified(service, early, late)).faults == ()

        await tamper(
            service,
            "DELETE FROM auth_audit_logs WHERE seq > 6",
            "UPDATE auth_audit_head SET seq = 6, hash = (SELECT hash FROM auth_audit_logs WHERE seq = 6)",
        )

        assert (await verified(service)).faults == ()
        assert kinds(await verified(service, early)) == []
        assert kinds(await verified(service, early, late)) == [(8, "anchor")]


async def test_an_anchor_reveals_a_chain_that_was_computed_anew(tmp_path: Path) -> None:
    """A58."""
    async with auth_on("sqlite", tmp_path) as service:
        await filled(service, 4)
        anchor = await anchored(service)
        await tamper(service, "DELETE FROM auth_audit_logs", "UPDATE auth_audit_head SET seq = 0, hash = ''")
        await service.db.fetch("UPDATE auth_audit_head SET hash = $1", audit_verification.START)
        await filled(service, 4)

        assert (await verified(service)).faults == ()
        assert kinds(await verified(service, anchor)) == [(4, "anchor")]


async def test_faults_are_recorded(tmp_path: Path) -> None:
    """A57."""
    async with auth_on("sqlite", tmp_path) as service:
        await filled(service)
        await tamper(service, "UPDATE auth_audit_logs SET outcome = 'failure' WHERE seq = 4")
        await verified(service)

        [entry] = await entries(service, action="audit_log_verified")
        assert (entry.outcome, entry.reason, entry.actor) == ("failure", "changed", "system")


# Forgetting


async def erase(service: AuthService, tokens: Tokens) -> None:
    async with service.db.transaction():
        await service.erase_account(UserErased(tokens.user.id, service.clock.now()))


@BOTH
async def test_where_people_came_from_is_stored_encrypted_and_forgotten_with_them(
    database: str, tmp_path: Path
) -> None:
    """A58, A60: erasing somebody breaks no chain."""
    async with auth_on(database, tmp_path) as service:
        with use(CLIENT):
            tokens = await service.sign_up(ADA)
            other = await service.sign_up(Register("eve@x.org", PASSWORD))
        await record("suspended", service.clock.now(), user_id=tokens.user.id, note="Ada wrote from 192.0.2.7")
        stored = repr(await rows(service.db, "SELECT * FROM auth_audit_logs"))
        assert [word for word in ("192.0.2.7", "test/1", "request-1", "Ada wrote") if word in stored] == []
        before = await entries(service, user_id=tokens.user.id, action="signed_in")
        assert [(each.ip_address, each.user_agent, each.request_id) for each in before] == [
            ("192.0.2.7", "test/1", "request-1")
        ]

        await erase(service, tokens)
        await record("looked_at", service.clock.now(), user_id=tokens.user.id, note="after the end")

        found = await entries(service, user_id=tokens.user.id)
        assert {(each.ip_address, each.user_agent, each.request_id, each.note) for each in found} == {("", "", "", "")}
        [kept] = await entries(service, user_id=other.user.id, action="signed_in")
        assert kept.ip_address == "192.0.2.7"
        assert (await verified(service)).faults == ()
        keys = await rows(service.db, "SELECT sealed FROM auth_person_keys WHERE id = $1", tokens.user.id)
        assert keys == [{"sealed": ""}]


async def test_an_origin_that_was_moved_to_another_entry_does_not_open(tmp_path: Path) -> None:
    """A60."""
    async with auth_on("sqlite", tmp_path) as service:
        with use(CLIENT):
            await record("one", service.clock.now(), user_id=UUID(int=1))
            await record("two", service.clock.now(), user_id=UUID(int=1))
        await tamper(
            service,
            "UPDATE auth_audit_logs SET origin = (SELECT origin FROM auth_audit_logs WHERE seq = 1) WHERE seq = 2",
        )

        assert [each.ip_address for each in await entries(service)] == ["", "192.0.2.7"]


# Reading


async def test_reading_needs_the_permission_and_is_recorded(tmp_path: Path) -> None:
    """A59."""
    async with auth_on("sqlite", tmp_path) as service:
        tokens = await service.sign_up(ADA)
        reader = Actor("user", str(UUID(int=7)), permissions=("audit:read",))
        for nobody, refusal in ((ANONYMOUS, Unauthenticated), (person(tokens), Forbidden)):
            with acting(nobody):
                for ask in (
                    service.audit_log(AuditQuery()),
                    service.audit_anchor(),
                    service.verify_audit(()),
                ):
                    with pytest.raises(refusal):
                        await ask
        with acting(reader):
            first = await service.audit_log(AuditQuery(user_id=tokens.user.id))
            second = await service.audit_log(AuditQuery(action="audit_log_read"))

        assert [each.action for each in first.items] == ["signed_in", "registered"]
        [reading] = second.items
        assert (reading.actor, reading.user_id, reading.purpose) == (reader.name, tokens.user.id, "audit_log")
        assert "ip_address" in reading.fields


async def test_reading_an_empty_page_is_recorded_too(tmp_path: Path) -> None:
    """A59."""
    async with auth_on("sqlite", tmp_path) as service:
        await entries(service, action="nothing")

        [reading] = await entries(service, action="audit_log_read")
        assert (reading.actor, reading.user_id) == ("system", None)


async def test_people_see_what_is_recorded_about_them_and_nothing_of_others(tmp_path: Path) -> None:
    """A59."""
    async with auth_on("sqlite", tmp_path) as service:
        with use(CLIENT):
            tokens = await service.sign_up(ADA)
            await service.sign_up(Register("eve@x.org", PASSWORD))
        admin = Actor("user", str(UUID(int=7)), permissions=("*",))
        with use(CLIENT), acting(admin):
            await record_reading(
                "account_read", service.clock.now(), subjects=[tokens.user.id], fields=["email"], purpose="support"
            )
            await record("role_granted", service.clock.now(), user_id=tokens.user.id, note="for the summer")
        with acting(person(tokens)):
            page = await service.my_audit_log("", 50)

        seen = [(each.action, each.actor, each.ip_address, each.note) for each in page.items]
        assert seen == [
            ("role_granted", admin.name, "", ""),
            ("account_read", admin.name, "", ""),
            ("signed_in", "anonymous", "192.0.2.7", ""),
            ("registered", "anonymous", "192.0.2.7", ""),
        ]
        assert (page.items[1].fields, page.items[1].purpose) == (("email",), "support")
        with acting(ANONYMOUS), pytest.raises(Unauthenticated):
            await service.my_audit_log("", 50)


async def test_reading_about_oneself_is_no_entry(tmp_path: Path) -> None:
    """A59."""
    async with auth_on("sqlite", tmp_path) as service:
        tokens = await service.sign_up(ADA)
        with acting(person(tokens)):
            await record_reading("read", service.clock.now(), subjects=[tokens.user.id], fields=["email"], purpose="me")

        assert await entries(service, action="read") == ()


@BOTH
async def test_pages_follow_each_other_and_filters_hold(database: str, tmp_path: Path) -> None:
    """A59."""
    async with auth_on(database, tmp_path) as service:
        began = service.clock.now()
        for number in range(7):
            service.clock.advance(timedelta(minutes=1))  # type: ignore[attr-defined]  # the test's own clock
            await record("thing", service.clock.now(), outcome="failure" if number % 2 else "success")
        seen: list[int] = []
        cursor: str | None = ""
        with acting(SYSTEM):
            while cursor is not None:
                page = await service.audit_log(AuditQuery(cursor=cursor, limit=3, action="thing"))
                seen += [each.seq for each in page.items]
                cursor = page.next_cursor
            failures = await service.audit_log(AuditQuery(action="thing", outcome="failure"))
            window = await service.audit_log(
                AuditQuery(action="thing", since=began + timedelta(minutes=2), until=began + timedelta(minutes=4))
            )

        assert seen == [7, 6, 5, 4, 3, 2, 1]
        assert [each.seq for each in failures.items] == [6, 4, 2]
        assert [each.seq for each in window.items] == [3, 2]


@pytest.mark.parametrize("cursor", ["x", "!!!!", "AAAAAAAAAAB", "_____________w", "AAAAAAAAAAA="])
async def test_a_cursor_of_another_list_is_refused_naming_the_field(cursor: str, tmp_path: Path) -> None:
    """A59."""
    async with auth_on("sqlite", tmp_path) as service:
        with acting(SYSTEM), pytest.raises(Malformed) as refused:
            await service.audit_log(AuditQuery(cursor=cursor))
        assert [error.field for error in refused.value.errors] == ["cursor"]


@pytest.mark.parametrize("limit", [0, 201])
async def test_a_page_has_from_1_to_200_entries(limit: int, tmp_path: Path) -> None:
    """A59."""
    with pytest.raises(Invalid):
        AuditQuery(limit=limit)
    async with auth_on("sqlite", tmp_path) as service:
        tokens = await service.sign_up(ADA)
        with acting(person(tokens)), pytest.raises(Invalid):
            await service.my_audit_log("", limit)


@BOTH
async def test_whatever_clients_call_themselves_can_be_recorded(database: str, tmp_path: Path) -> None:
    """A57: what PostgreSQL would not store is no reason to refuse a login."""
    strange = attrs.evolve(CLIENT, user_agent="a\x00b" + "ä" * 600, correlation_id="r" * 200)
    async with auth_on(database, tmp_path) as service:
        with use(strange):
            await record("thing", service.clock.now())

        [entry] = await entries(service)
        assert (entry.user_agent, len(entry.request_id)) == ("ab" + "ä" * 510, 64)
