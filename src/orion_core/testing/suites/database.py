"""What every database must do."""

from __future__ import annotations

import abc
import asyncio
import datetime
import json
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any

import pytest
from piccolo.columns import JSON, UUID, Boolean, Column, Integer, Timestamptz, Varchar
from piccolo.table import create_table_class

from orion_core.ports.database import OPEN_TRANSACTION, Database, DatabaseUnavailable
from orion_core.ports.database_errors import UniqueViolation

_SECONDS = 30.0
_COLUMNS: dict[str, Callable[[], Column]] = {
    "uid": lambda: UUID(unique=True),
    "name": lambda: Varchar(),
    "number": lambda: Integer(),
    "flag": lambda: Boolean(),
    "at": lambda: Timestamptz(null=True, default=None),
    "document": lambda: JSON(),
}


async def a_table(db: Database) -> Any:
    """A Piccolo table ``thing`` in `db`, bound to its engine."""
    table: Any = create_table_class(
        "Thing",
        class_kwargs={"tablename": "thing", "db": db.engine},
        class_members={name: column() for name, column in _COLUMNS.items()},
    )
    await table.create_table()
    return table


async def _count(db: Database) -> int:
    return int((await db.fetch("SELECT count(*) AS things FROM thing"))[0]["things"])


async def _insert(db: Database, name: str = "", uid: uuid.UUID | None = None, number: int = 0) -> None:
    await db.fetch(
        "INSERT INTO thing (uid, name, number, flag, document) VALUES ($1, $2, $3, $4, $5)",
        uid or uuid.uuid4(),
        name,
        number,
        True,
        "{}",
    )


class _Refused(Exception):
    """What a service raises to have its transaction rolled back."""


@asynccontextmanager
async def _rolled_back(transaction: AbstractAsyncContextManager[Any]) -> AsyncIterator[Any]:
    """`transaction`, left by an exception of the service's own."""
    with suppress(_Refused):
        async with transaction as running:
            yield running
            raise _Refused


class DatabaseSuite(abc.ABC):
    """The conformance suite of the port `Database`: a test class subclasses it and says how to open one."""

    @abc.abstractmethod
    def database(self) -> AbstractAsyncContextManager[Database]:
        """An open, empty database of its own, closed and removed at the end."""

    @abc.abstractmethod
    def outage(self, db: Database) -> AbstractAsyncContextManager[None]:
        """Make `db`, opened by this suite, unable to write for as long as the context lasts."""

    async def test_a_committed_transaction_stays_and_calls_back_once_afterwards(self) -> None:
        async with self.database() as db:
            await a_table(db)
            calls: list[object] = []
            async with db.transaction() as transaction:
                transaction.after_commit(lambda: calls.append(OPEN_TRANSACTION.get()))
                await _insert(db)
                assert OPEN_TRANSACTION.get() is transaction
                assert calls == []
            assert calls == [None]
            assert OPEN_TRANSACTION.get() is None
            assert await _count(db) == 1

    async def test_an_exception_rolls_everything_back_and_calls_nobody(self) -> None:
        """E1: a rollback leaves neither row nor event."""
        async with self.database() as db:
            table = await a_table(db)
            calls: list[str] = []
            async with _rolled_back(db.transaction()) as transaction:
                transaction.after_commit(lambda: calls.append("committed"))
                await _insert(db)
                await table.insert(table(name="by Piccolo"))
            assert calls == []
            assert OPEN_TRANSACTION.get() is None
            assert await _count(db) == 0

    async def test_what_comes_last_runs_inside_the_transaction_in_order(self) -> None:
        async with self.database() as db:
            await a_table(db)
            calls: list[str] = []

            async def first() -> None:
                calls.append("first")
                await _insert(db, "first")

            async def second() -> None:
                calls.append(f"second of {await _count(db)}")

            async with db.transaction() as transaction:
                transaction.before_commit(first)
                transaction.before_commit(second)
                await _insert(db)
                assert calls == []
            assert calls == ["first", "second of 2"]
            assert await _count(db) == 2

    async def test_what_comes_last_and_fails_rolls_everything_back(self) -> None:
        async with self.database() as db:
            await a_table(db)

            async def refuse() -> None:
                await _insert(db, "last")
                raise _Refused

            async def fail_at_the_end() -> None:
                async with db.transaction() as transaction:
                    transaction.before_commit(refuse)
                    await _insert(db)

            with pytest.raises(_Refused):
                await fail_at_the_end()
            assert OPEN_TRANSACTION.get() is None
            assert await _count(db) == 0

            calls: list[str] = []

            async def never() -> None:
                calls.append("called")

            async with _rolled_back(db.transaction()) as transaction:
                transaction.before_commit(never)
            assert calls == []

    async def test_a_failing_callback_stops_no_other_and_undoes_nothing(self) -> None:
        async with self.database() as db:
            await a_table(db)
            calls: list[str] = []
            async with db.transaction() as transaction:
                transaction.after_commit(lambda: calls.append(str(1 // 0)))
                transaction.after_commit(lambda: calls.append("second"))
                await _insert(db)
            assert calls == ["second"]
            assert await _count(db) == 1

    async def test_a_transaction_is_never_nested(self) -> None:
        async with self.database() as db:
            await a_table(db)
            async with db.transaction():
                await _insert(db)
                with pytest.raises(RuntimeError, match="open already"):
                    async with db.transaction():
                        pass
            assert await _count(db) == 1

    async def test_a_task_that_outlives_its_transaction_works_without_it(self) -> None:
        async with self.database() as db:
            await a_table(db)
            over = asyncio.Event()

            async def later() -> None:
                await over.wait()
                await _insert(db)
                async with db.transaction():
                    await _insert(db)

            async with db.transaction():
                task = asyncio.create_task(later())
                await _insert(db)
            over.set()
            await task
            assert await _count(db) == 3

    async def test_nobody_sees_what_is_not_committed(self) -> None:
        async with self.database() as db:
            table = await a_table(db)
            written, seen = asyncio.Event(), asyncio.Event()

            async def write() -> None:
                async with db.transaction():
                    await _insert(db)
                    assert await _count(db) == 1
                    assert await table.count() == 1
                    written.set()
                    await seen.wait()

            task = asyncio.create_task(write())
            await written.wait()
            assert await _count(db) == 0
            assert await table.count() == 0
            seen.set()
            await task
            assert await _count(db) == 1

    async def test_twenty_transactions_that_read_and_then_write_all_succeed(self) -> None:
        """U43: never "database is locked"."""
        async with self.database() as db:
            await a_table(db)
            await _insert(db, number=0)

            async def increment() -> None:
                async with db.transaction():
                    await db.fetch("SELECT number FROM thing")
                    await _insert(db, name="one more")
                    await db.fetch("UPDATE thing SET number = number + 1 WHERE name = $1", "")

            async with asyncio.timeout(_SECONDS):
                await asyncio.gather(*(increment() for _ in range(20)))
            assert await _count(db) == 21
            assert await db.fetch("SELECT number FROM thing WHERE name = $1", "") == [{"number": 20}]

    async def test_statements_outside_a_transaction_commit_by_themselves(self) -> None:
        async with self.database() as db:
            table = await a_table(db)
            async with asyncio.timeout(_SECONDS):
                await asyncio.gather(*(_insert(db) for _ in range(20)), *(table.insert(table()) for _ in range(20)))
            assert await _count(db) == 40

    @pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 8])
    async def test_a_cancelled_transaction_rolls_back_and_frees_the_database(self, turns: int) -> None:
        async with self.database() as db:
            await a_table(db)
            begun = asyncio.Event()

            async def write() -> None:
                async with db.transaction():
                    begun.set()
                    for _ in range(1000):
                        await _insert(db)
                    raise _Refused

            task = asyncio.create_task(write())
            await begun.wait()
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises((asyncio.CancelledError, _Refused)):
                await task
            async with asyncio.timeout(_SECONDS), db.transaction():
                await _insert(db)
            assert await _count(db) == 1

    async def test_whoever_is_cancelled_while_waiting_or_working_takes_nothing_with_him(self) -> None:
        async with self.database() as db:
            await a_table(db)
            committed: list[int] = []

            async def write(number: int) -> None:
                async with db.transaction() as transaction:
                    transaction.after_commit(lambda: committed.append(number))
                    await _insert(db, number=number)
                    await _insert(db, number=number)

            tasks = [asyncio.create_task(write(number)) for number in range(30)]
            for task in tasks[::2]:
                for _ in range(3):
                    await asyncio.sleep(0)
                task.cancel()
            async with asyncio.timeout(_SECONDS):
                await asyncio.gather(*tasks, return_exceptions=True)
            rows = await db.fetch("SELECT number FROM thing ORDER BY number")
            assert [row["number"] for row in rows] == sorted(2 * committed)
            assert set(committed) >= set(range(1, 30, 2))

    async def test_a_second_row_with_a_unique_value_is_a_unique_violation(self) -> None:
        async with self.database() as db:
            table = await a_table(db)
            uid = uuid.uuid4()
            await _insert(db, uid=uid)
            with pytest.raises(UniqueViolation) as by_fetch:
                await _insert(db, uid=uid)
            with pytest.raises(UniqueViolation) as by_piccolo:
                await table.insert(table(uid=uid))
            for caught in (by_fetch, by_piccolo):
                assert caught.value.table == "thing"
                assert caught.value.columns == ("uid",)
                assert str(uid) not in str(caught.value)
            with pytest.raises(UniqueViolation):
                async with db.transaction():
                    await _insert(db, uid=uid)
            await db.fetch("CREATE UNIQUE INDEX thing_pair ON thing (name, number)")
            with pytest.raises(UniqueViolation) as caught:
                await _insert(db, number=0)
            assert caught.value.columns == ("name", "number")
            assert await _count(db) == 1

    async def test_after_a_failed_statement_a_transaction_cannot_commit(self) -> None:
        async with self.database() as db:
            await a_table(db)
            uid = uuid.uuid4()
            calls: list[str] = []

            async def swallow() -> None:
                async with db.transaction() as transaction:
                    transaction.after_commit(lambda: calls.append("committed"))
                    await _insert(db, uid=uid)
                    with suppress(UniqueViolation):
                        await _insert(db, uid=uid)

            with pytest.raises(RuntimeError, match="cannot commit"):
                await swallow()
            assert calls == []
            assert await _count(db) == 0

    async def test_on_conflict_do_nothing_tells_by_returning_whether_the_row_is_new(self) -> None:
        async with self.database() as db:
            await a_table(db)
            statement = (
                "INSERT INTO thing (uid, name, number, flag, document) VALUES ($1, '$1', 1, TRUE, '{}') "
                "ON CONFLICT (uid) DO NOTHING RETURNING uid, name"
            )
            uid = uuid.uuid4()
            assert await db.fetch(statement, uid) == [{"uid": uid, "name": "$1"}]
            assert await db.fetch(statement, uid) == []

    async def test_rows_have_the_types_that_their_columns_declare(self) -> None:
        async with self.database() as db:
            table = await a_table(db)
            at = datetime.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=datetime.UTC)
            row = {"uid": uuid.uuid4(), "name": "Ada", "number": 7, "flag": True, "at": at}
            returned = await table.insert(table(**row, document={"a": 1})).returning(*table.all_columns())
            fetched = await db.fetch("SELECT * FROM thing WHERE uid = $1 AND name = $2 AND uid = $1", row["uid"], "Ada")
            for found in (returned[0], fetched[0], (await table.select())[0]):
                assert type(found) is dict
                assert {name: found[name] for name in row} == row
                assert isinstance(found["uid"], uuid.UUID)
                assert found["flag"] is True
                assert found["at"].utcoffset() == datetime.timedelta(0)
                assert isinstance(found["document"], str)
                assert json.loads(found["document"]) == {"a": 1}
            assert await db.fetch("UPDATE thing SET at = NULL WHERE number = $1 RETURNING at, flag", 7) == [
                {"at": None, "flag": True}
            ]
            assert await db.fetch("DELETE FROM thing WHERE number = $1", 7) == []

    async def test_piccolo_works_inside_and_outside_a_transaction(self) -> None:
        async with self.database() as db:
            table = await a_table(db)

            async def use() -> None:
                await table.insert(table(name="one", number=1), table(name="two", number=2))
                thing = await table.objects().where(table.name == "one").first()
                thing.number = 10
                await thing.save()
                assert await table.select(table.number).where(table.name == "one").first() == {"number": 10}
                changed = await table.update({table.number: table.number + 1}, force=True).returning(table.number)
                assert sorted(row["number"] for row in changed) == [3, 11]
                assert await table.exists().where(table.number == 11)
                lost = table.update({table.number: 0}).where(table.number == 99).returning(table.number)
                assert await lost == []
                await table.delete(force=True)

            await use()
            async with db.transaction():
                await use()
            async with _rolled_back(db.transaction()):
                await table.insert(table(name="gone"))
            async with db.engine.transaction():
                await table.insert(table(name="kept"))
            async with _rolled_back(db.engine.transaction()):
                await table.insert(table(name="gone"))
            assert await table.select(table.name) == [{"name": "kept"}]

    async def test_a_savepoint_undoes_a_failed_statement_alone(self) -> None:
        async with self.database() as db:
            table = await a_table(db)
            uid = uuid.uuid4()
            async with db.engine.transaction() as transaction:
                await table.insert(table(uid=uid))
                savepoint = await transaction.savepoint()
                with pytest.raises(UniqueViolation):
                    await table.insert(table(uid=uid))
                await savepoint.rollback_to()
                await table.insert(table())
            assert await _count(db) == 2

    async def test_its_time_is_in_unix_milliseconds(self) -> None:
        async with self.database() as db:
            now = (await db.fetch(f"SELECT {db.dialect.now_ms} AS now"))[0]["now"]
            assert isinstance(now, int)
            assert abs(now - time.time() * 1000) < 3_600_000

    async def test_rows_can_be_claimed_with_the_dialect(self) -> None:
        async with self.database() as db:
            await a_table(db)
            for number in range(3):
                await _insert(db, number=number)
            async with db.transaction():
                claimed = await db.fetch(
                    "UPDATE thing SET name = $1 WHERE uid IN (SELECT uid FROM thing WHERE name = $2 "
                    f"ORDER BY number LIMIT 2 {db.dialect.skip_locked}) RETURNING number",
                    "claimed",
                    "",
                )
            assert sorted(row["number"] for row in claimed) == [0, 1]

    async def test_an_outage_is_told_and_ends_by_itself(self) -> None:
        async with self.database() as db:
            table = await a_table(db)
            await _insert(db, name="before")
            assert (await db.check()).status == "pass"
            async with asyncio.timeout(_SECONDS), self.outage(db):
                with pytest.raises(DatabaseUnavailable):
                    await _insert(db)
                with pytest.raises(DatabaseUnavailable):
                    await table.insert(table())
                with pytest.raises(DatabaseUnavailable):
                    async with db.transaction():
                        await _insert(db)
                assert OPEN_TRANSACTION.get() is None
            async with db.transaction():
                await _insert(db, name="after")
            assert (await db.check()).status == "pass"
            names = [row["name"] for row in await db.fetch("SELECT name FROM thing ORDER BY name")]
            assert names == ["after", "before"]

    async def test_a_closed_database_is_unavailable(self) -> None:
        async with self.database() as db:
            await a_table(db)
            await db.aclose()
            with pytest.raises(DatabaseUnavailable):
                await _count(db)
            with pytest.raises(DatabaseUnavailable):
                await _insert(db)
            with pytest.raises(DatabaseUnavailable):
                async with db.transaction():
                    pass
            assert (await db.check()).status == "fail"
            await db.aclose()
