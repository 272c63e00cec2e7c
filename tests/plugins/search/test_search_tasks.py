"""Tasks of search on SQLite and on PostgreSQL: adding, rebuilding, checking."""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
from search_kit import (
    ADA,
    GRACE,
    NOTES,
    NoteRemoved,
    NoteWritten,
    dump,
    envelope,
    find,
    hear,
    ids,
    put,
    searching,
    user,
    with_index,
)

from orion_core.context import SYSTEM, acting
from orion_core.contracts.search import NoSuchTask, Task, TaskReport
from orion_core.errors import Forbidden, Invalid, Malformed, Unavailable
from orion_core.ids import new_id
from orion_core.jobs import Retry
from orion_core.json_value import Json
from orion_plugins.search.dialect import is_sound, is_sqlite
from orion_plugins.search.lines import read_lines
from orion_plugins.search.service import SearchService

PAGED = with_index("notes", NOTES, pages="pages")


@attrs.frozen
class Page:
    documents: tuple[Json, ...]
    next_cursor: str | None


class Owner:
    """Gives its documents one per page; `before` is awaited at each page."""

    def __init__(self, *documents: dict[str, Any], before: Any = None) -> None:
        self.documents = list(documents)
        self.before = before

    async def pages(self, cursor: str) -> Page:
        if self.before is not None:
            await self.before()
        at = int(cursor or 0)
        page = tuple(Json.of(document) for document in self.documents[at : at + 1])
        return Page(page, str(at + 1) if at + 1 < len(self.documents) else None)


async def rebuilt(service: SearchService, index: str = "notes") -> Task:
    with acting(SYSTEM):
        task = await service.rebuild(index)
        while await service.work.step(index):
            pass
        return (await service.task(task.id)).task


async def report(service: SearchService, task: Task) -> TaskReport:
    with acting(SYSTEM):
        return await service.task(task.id)


# Adding


async def test_each_document_of_a_task_is_accepted_or_refused_by_itself(database_url: str) -> None:
    """S3."""
    async with searching(database_url) as service:
        given: list[Any] = [
            {"id": "1", "version": 1, "title": "engine"},
            {"id": "", "version": 1},
            {"id": "3", "title": "no version"},
            {"id": "4", "version": 1, "title": 5},
            {"id": "5", "version": 1, "pages": "many"},
            "no object",
            {"id": "7", "version": 1, "at": "2026-01-01T00:00:00"},
            {"id": "8", "version": 1, "title": "engine \x00\ud800", "\ud800": {"\x00": "\ud800"}},
            {"id": "\ud800", "version": 1},
            {"id": "10", "version": 1, "more": functools.reduce(lambda inner, _: [inner], range(500), 1)},
            {"id": "11", "version": 1, "owner": 7},
        ]
        with acting(SYSTEM):
            task = await service.add("notes", tuple(Json.of(item) for item in given))
            assert (task.status, task.done) == ("waiting", 0)
            await service.carry_on("notes")
        done = await report(service, task)

        assert (done.task.status, done.task.done, done.task.refused) == ("succeeded", 11, 9)
        assert [outcome.line for outcome in done.outcomes if outcome.accepted] == [1, 8]
        assert [outcome.line for outcome in done.outcomes] == list(range(1, 12))
        assert "version" in done.outcomes[2].detail
        assert "title" in done.outcomes[3].detail
        assert "levels" in done.outcomes[9].detail
        assert "owner" in done.outcomes[10].detail
        assert sorted(await ids(service, "engine")) == ["1", "8"]


async def test_a_task_takes_at_most_ten_thousand_documents_and_needs_a_permission(database_url: str) -> None:
    """S3."""
    async with searching(database_url) as service:
        with acting(SYSTEM), pytest.raises(Invalid, match="documents"):
            await service.add("notes", (Json.of({}),) * 10_001)
        with acting(user(new_id())), pytest.raises(Forbidden):
            await service.add("notes", (Json.of({}),))
        with acting(SYSTEM), pytest.raises(NoSuchTask):
            await service.task(new_id())
        with acting(SYSTEM), pytest.raises(Malformed):
            await service.tasks("x", 10)


async def test_the_times_of_a_task_are_in_their_order(tmp_path: Path) -> None:
    """S3: accepted, started, finished; a check of the full text as well."""
    async with searching(f"sqlite:///{tmp_path}/{{service}}.db") as service:
        await put(service, [{"id": str(number), "title": "engine"} for number in range(150)])
        while await service.work.step(""):
            pass
        with acting(SYSTEM):
            tasks = (await service.tasks("", 10)).items

        assert {task.kind for task in tasks} == {"documents", "check"}
        for task in tasks:
            assert task.started_at is not None
            assert task.finished_at is not None
            assert task.created_at <= task.started_at <= task.finished_at, task.kind


async def test_an_older_version_of_an_added_document_changes_nothing(database_url: str) -> None:
    """S2."""
    async with searching(database_url) as service:
        await put(service, [{"id": "1", "title": "new", "version": 2}])
        await put(service, [{"id": "1", "title": "old", "version": 1}])
        assert await ids(service, "new") == ["1"]


async def test_two_workers_on_one_index_do_each_step_once(database_url: str) -> None:
    """S3: a step writes what it did together with how far the task is."""
    async with searching(database_url) as service:
        documents = tuple(Json.of({"id": str(n), "version": 1, "title": "engine"}) for n in range(250))
        with acting(SYSTEM):
            task = await service.add("notes", documents)
            await asyncio.gather(service.carry_on("notes"), service.carry_on("notes"))

        done = await report(service, task)
        assert [outcome.line for outcome in done.outcomes] == list(range(1, 251))
        assert (await find(service, "engine")).total == 250
        assert (await dump(service))["f"]["sizes"] == [(250, 250)]


def test_lines_are_read_one_by_one_and_a_bad_one_is_named() -> None:
    """S3."""
    assert [item.plain() for item in read_lines(b'{"id": "1"}\n\n[2]\r\n')] == [{"id": "1"}, [2]]
    with pytest.raises(Malformed, match="line 2"):
        read_lines(b'{}\n{"id": NaN?}')


# Rebuilding


async def test_a_rebuild_makes_the_index_what_its_owner_says(database_url: str) -> None:
    """S5: what the owner no longer knows goes, what was never heard of comes."""
    owner = Owner({"id": "1", "title": "engine"}, {"id": "2", "title": "brass"}, {"title": "no id"})
    async with searching(database_url, PAGED, owner=owner) as service:
        await hear(
            service, envelope(NoteWritten("1", "stale", "", ""), 1), envelope(NoteWritten("9", "lost", "", ""), 1)
        )

        task = await rebuilt(service)

        assert (task.status, task.done, task.refused) == ("succeeded", 3, 1)
        assert await ids(service) == ["1", "2"]
        assert await ids(service, "stale") == []
        # What is delivered again, or late, is older than what the owner said.
        await hear(service, envelope(NoteWritten("1", "stale", "", ""), 1))
        assert await ids(service, "stale") == []
        await hear(service, envelope(NoteWritten("1", "fresh", "", ""), 2))
        assert await ids(service, "fresh") == ["1"]
        assert await is_sound(service.db)


async def test_queries_see_the_old_generation_until_the_new_one_is_full(database_url: str) -> None:
    """S5: never an empty or a mixed index; what arrives meanwhile is in both."""
    seen: list[list[str]] = []
    async with searching(database_url, PAGED, owner=None) as service:
        await hear(service, *(envelope(NoteWritten(str(n), "engine", "", ""), 1) for n in range(4)))

        async def look() -> None:
            number = 10 + len(seen)
            await hear(service, envelope(NoteWritten(str(number), "engine", "", ""), 1))
            seen.append(await ids(service, "engine"))

        service.services.answers["notes"] = Owner(  # type: ignore[attr-defined]  # the kit's
            *({"id": str(n), "title": "engine"} for n in range(4)), before=look
        )
        await rebuilt(service)

        old = ["0", "1", "2", "3"]
        assert [sorted(each) for each in seen] == [
            sorted([*old, *(str(10 + n) for n in range(count + 1))]) for count in range(len(seen))
        ]
        assert sorted(await ids(service, "engine")) == sorted([*old, *(str(10 + n) for n in range(len(seen)))])


async def test_a_removal_during_a_rebuild_stays_a_removal(database_url: str) -> None:
    """S5: the page may have been read before the document went."""
    async with searching(database_url, PAGED) as service:
        await hear(service, envelope(NoteWritten("1", "engine", "", ""), 1))

        async def gone() -> None:
            await hear(service, envelope(NoteRemoved("1"), 2))

        service.services.answers["notes"] = Owner({"id": "1", "title": "engine"}, before=gone)  # type: ignore[attr-defined]
        await rebuilt(service)

        assert (await find(service)).total == 0


async def test_a_rebuild_that_fails_leaves_the_old_generation(database_url: str) -> None:
    """S5."""

    async def broken() -> None:
        raise RuntimeError("no pages today")

    owner = Owner({"id": "2", "title": "brass"}, before=broken)
    async with searching(database_url, PAGED, owner=owner) as service:
        await hear(service, envelope(NoteWritten("1", "engine", "", ""), 1))
        task = await rebuilt(service)

        assert task.status == "failed"
        assert "no pages today" in task.detail
        assert await ids(service) == ["1"]
        with acting(SYSTEM):
            assert (await service.indexes())[0].building is None
        owner.before = None
        assert (await rebuilt(service)).status == "succeeded"
        assert await ids(service) == ["2"]


async def test_a_rebuild_waits_for_an_owner_that_is_away_but_not_for_ever(database_url: str) -> None:
    """S5."""

    async def away() -> None:
        raise Unavailable("the owner is away")

    async with searching(database_url, PAGED, owner=Owner({"id": "1"}, before=away)) as service:
        with acting(SYSTEM):
            task = await service.rebuild("notes")
            again = await service.rebuild("notes")
            assert again.id == task.id
        for _ in range(3):
            with pytest.raises(Retry):
                await service.carry_on("notes")
        service.clock.advance(timedelta(minutes=20))  # type: ignore[attr-defined]  # the kit's
        await service.work.step("notes")

        assert (await report(service, task)).task.status == "failed"


async def test_a_long_rebuild_has_patience_again_after_every_page(database_url: str) -> None:
    """S5: what counts is how long the owner is away, not how long the rebuild takes."""
    owner = Owner({"id": "1"}, {"id": "2"}, {"id": "3"})
    async with searching(database_url, PAGED, owner=owner) as service:
        with acting(SYSTEM):
            task = await service.rebuild("notes")

        async def later() -> None:
            service.clock.advance(timedelta(minutes=10))  # type: ignore[attr-defined]  # the kit's

        async def away() -> None:
            raise Unavailable("the owner is away")

        owner.before = later
        for _ in range(3):
            await service.work.step("notes")
        owner.before = away
        with pytest.raises(Retry):
            await service.carry_on("notes")
        owner.before = later
        await service.carry_on("notes")

        assert (await report(service, task)).task.status == "succeeded"
        assert await ids(service) == ["1", "2", "3"]


async def test_an_index_without_an_owner_to_ask_is_rebuilt_from_what_is_stored(database_url: str) -> None:
    """S5."""
    async with searching(database_url) as service:
        await put(service, [{"id": str(n), "title": f"engine {n}"} for n in range(150)])
        before = await dump(service)
        task = await rebuilt(service)

        assert (task.status, task.done) == ("succeeded", 150)
        assert await dump(service) == before


async def test_a_changed_declaration_is_followed_by_a_rebuild_at_the_next_start(tmp_path: Path) -> None:
    """S5, S9: until it is done, the old generation answers by the declaration it was built by."""
    url = f"sqlite:///{tmp_path}/{{service}}.db"
    async with searching(url) as service:
        await put(service, [{"id": "1", "title": "engine", "body": "brass", "pages": 1}])
    async with searching(url, with_index("notes", text={"body": 1}, filterable={"pages": int})) as service:
        assert await ids(service, "engine") == ["1"]
        while await service.work.step("notes"):
            pass
        assert await ids(service, "engine") == []
        assert await ids(service, "brass", filter="pages eq 1") == ["1"]


async def test_a_field_that_is_no_longer_open_to_all_is_closed_before_the_rebuild(tmp_path: Path) -> None:
    """S21: a rebuild may take long, or fail."""
    url = f"sqlite:///{tmp_path}/{{service}}.db"
    async with searching(url, with_index("notes", open_to_all=["title", "body"])) as service:
        await put(service, [{"id": "1", "title": "engine", "body": "brass", "owner": str(ADA)}])
        assert await ids(service, "brass", user(GRACE)) == ["1"]
    async with searching(url, with_index("notes", open_to_all=["title"])) as service:
        assert await ids(service, "", user(GRACE)) == []
        assert await ids(service, "brass", user(ADA)) == ["1"]
        while await service.work.step("notes"):
            pass
        assert await ids(service, "engine", user(GRACE)) == ["1"]
        assert await ids(service, "brass", user(GRACE)) == []


async def test_an_old_generation_goes_when_no_query_can_be_on_it_any_more(database_url: str) -> None:
    """S5."""
    async with searching(database_url) as service:
        await put(service, [{"id": "1", "title": "engine", "pages": 1}])
        await rebuilt(service)
        await service.clean()
        assert len(await service.db.fetch("SELECT id FROM search_generations")) == 2

        service.clock.advance(timedelta(minutes=2))  # type: ignore[attr-defined]  # the kit's
        await service.clean()

        assert len(await service.db.fetch("SELECT id FROM search_generations")) == 1
        for table in ("documents", "values", "scopes", "words"):
            assert {row["scope"] for row in await service.db.fetch(f"SELECT scope FROM search_{table}")} == {"2f"}
        assert await ids(service, "engine") == ["1"]
        assert await is_sound(service.db)


# Damage


async def test_a_damaged_full_text_is_noticed_at_the_start_and_made_anew(tmp_path: Path) -> None:
    """S7: SQLite's own check is silent about it."""
    url = f"sqlite:///{tmp_path}/{{service}}.db"
    async with searching(url) as service:
        await put(service, [{"id": "1", "title": "engine"}, {"id": "2", "title": "brass"}])
        assert is_sqlite(service.db)
        while await service.work.step(""):
            pass
        # The document says something else than the full text: what a lost write would leave.
        await service.db.fetch("UPDATE search_documents SET words = ' paper | | ' WHERE doc_id = '2'")
        assert (await service.db.fetch("PRAGMA integrity_check"))[0]["integrity_check"] == "ok"
    async with searching(url) as service:
        assert not await is_sound(service.db)
        while await service.work.step(""):
            pass
        assert await is_sound(service.db)
        assert await ids(service, '"paper"') == ["2"]
        with acting(SYSTEM):
            details = [task.detail for task in (await service.tasks("", 10)).items if task.kind == "check"]
        assert any("damaged" in detail for detail in details)


CHILD = """
import asyncio, sys
sys.path.insert(0, sys.argv[2])
from search_kit import NoteWritten, envelope, hear, searching

async def main():
    async with searching(sys.argv[1]) as service:
        print("ready", flush=True)
        for number in range(100_000):
            await hear(service, envelope(NoteWritten(str(number), f"engine {number}", "brass", ""), 1))

asyncio.run(main())
"""


async def test_after_kill_9_in_the_middle_of_indexing_nothing_is_half_there(database_url: str) -> None:
    """S7, S1."""
    child = subprocess.Popen(  # noqa: ASYNC220 - it only starts here
        [sys.executable, "-c", CHILD, database_url, str(Path(__file__).parent)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        assert (await asyncio.to_thread(child.stdout.readline)).strip() == "ready"
        async with searching(database_url) as service:
            async with asyncio.timeout(30):
                while (await find(service, "engine ", limit=0)).total < 20:  # noqa: ASYNC110 - another process
                    await asyncio.sleep(0.02)
            os.kill(child.pid, signal.SIGKILL)
            await asyncio.to_thread(child.wait)
    finally:
        child.kill()
        child.communicate()
    async with searching(database_url) as service:
        while await service.work.step(""):
            pass
        assert await is_sound(service.db)
        total = (await find(service, "engine ", limit=0)).total
        assert total == (await find(service, "brass ", limit=0)).total == (await find(service, limit=0)).total
        assert (await dump(service))["f"]["sizes"] == [(total, 3 * total)]
