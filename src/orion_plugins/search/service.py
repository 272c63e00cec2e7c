"""Finding what the services publish."""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Self
from uuid import UUID

import attrs

from orion_core import codec, filters
from orion_core.context import current
from orion_core.contracts.platform import PersonalDataRead
from orion_core.contracts.search import (
    IndexStatus,
    NoSuchIndex,
    NoSuchTask,
    Outcome,
    Query,
    Results,
    Search,
    Task,
    TaskPage,
    TaskReport,
)
from orion_core.contracts.users import UserErased
from orion_core.errors import FieldError, Malformed, Unavailable
from orion_core.events import Envelope, Events, event_type, on, on_all
from orion_core.jobs import Jobs, Retry, job
from orion_core.json_value import Json
from orion_core.paging import bad_cursor, check_limit, from_cursor, pack, to_cursor, unpack
from orion_core.plugin import Catalogue, Services
from orion_core.ports.clock import Clock
from orion_core.ports.database import Database
from orion_core.values import invalid
from orion_plugins.search import queries
from orion_plugins.search.conditions import View
from orion_plugins.search.dialect import drop_words, is_sqlite, shred
from orion_plugins.search.documents import Layout, State, read
from orion_plugins.search.reading import Reader
from orion_plugins.search.tables import TaskRow
from orion_plugins.search.tasks import Declared, Tasks, outcomes_of
from orion_plugins.search.writing import FORMS, Batch

MAX_DOCUMENTS = 10_000
KEPT_TASKS = timedelta(days=30)
RETIRED = timedelta(minutes=1)
"""How long the documents of an old generation are kept for queries that are under way."""
_CURSOR = re.compile(r"([0-9]{1,9})\.([0-9a-f]{12})")
_SERVING = """
SELECT i.serving, g.layout FROM search_indexes i JOIN search_generations g ON g.id = i.serving WHERE i.name = $1
"""


@attrs.frozen
class SearchService(Search):
    """Keeps `Search`: a listener and tasks write, queries read one generation."""

    db: Database
    events: Events
    jobs: Jobs
    clock: Clock
    catalogue: Catalogue
    services: Services
    declared: Mapping[str, Declared] = attrs.field(init=False)
    work: Tasks = attrs.field(init=False)

    @declared.default
    def _declared(self) -> Mapping[str, Declared]:
        found = {}
        for name, (service, item) in self.catalogue.searchable.items():
            events = [*item.documents, *item.removals]
            order = {_type(cls): place for place, cls in enumerate(events)}
            pages = functools.partial(self._page, service, item.pages) if item.pages else None
            found[name] = Declared(service, item, Layout.of(item), order, pages)
        return found

    @work.default
    def _work(self) -> Tasks:
        return Tasks(self.db, self.clock, self.declared)

    async def __aenter__(self) -> Self:
        for name, declared in self.declared.items():
            await self._prepare(name, declared)
        if is_sqlite(self.db) and await self.work.oldest("", "check") is None:
            async with self.db.transaction():
                await self.work.create("check")
        for index in ("", *self.declared):
            if await self.work.oldest(index):
                await self.jobs.enqueue(self.carry_on, index)
        return self

    async def __aexit__(self, *error: object) -> None:
        """Nothing is kept open."""

    async def find(self, query: Query) -> Results:
        declared = self._index(query.index)
        asked = queries.parse(query.text)
        offset = _offset(query)
        for _ in range(3):
            row = (await self.db.fetch(_SERVING, query.index))[0]
            layout = Layout.loads(row["layout"])
            # What has been closed since this generation was built is closed at once.
            is_open = bool(layout.open_to_all) and {*layout.open_to_all} <= {*declared.searchable.open_to_all}
            page = await Reader(
                self.db,
                layout,
                View.of(current().actor, declared.searchable, row["serving"], is_open),
                asked,
                filters.parse(query.filter, layout.types),
                filters.sorting(query.sort, layout.types),
                query,
            ).page(offset)
            if page is not None:
                await self._tell_of_reading(declared, page.owners)
                after = offset + len(page.items)
                more = bool(page.items) and after < page.total
                return Results(page.items, page.total, _cursor(query, after) if more else None)
        raise Unavailable("the index changes faster than it can be read: ask again")

    async def indexes(self) -> tuple[IndexStatus, ...]:
        current().actor.require("search:read")
        return tuple([await self._status(name) for name in sorted(self.declared)])

    async def tasks(self, cursor: str, limit: int) -> TaskPage:
        current().actor.require("search:read")
        check_limit(limit)
        query = TaskRow.objects().order_by(TaskRow.id, ascending=False).limit(limit + 1)
        if cursor:
            query = query.where(TaskRow.id < from_cursor(cursor))
        rows = await query
        return TaskPage(
            tuple(_task(row) for row in rows[:limit]), to_cursor(rows[limit - 1].id) if len(rows) > limit else None
        )

    async def task(self, task_id: UUID) -> TaskReport:
        current().actor.require("search:read")
        row = await TaskRow.objects().where(TaskRow.id == task_id).first()
        if row is None:
            raise NoSuchTask(f"there is no task {task_id}")
        return TaskReport(
            _task(row), tuple(Outcome(line, doc_id, not why, why) for line, doc_id, why in outcomes_of(row))
        )

    async def rebuild(self, index: str) -> Task:
        current().actor.require("search:write")
        declared = self._index(index)
        async with self.db.transaction():
            await Batch.begin(self.db, index, declared.order)
            row = await self.work.oldest(index, "rebuild")
            if row is None:
                row = await self.work.create("rebuild", index)
                await self.jobs.enqueue(self.carry_on, index)
        return _task(row)

    async def add(self, index: str, documents: tuple[Json, ...]) -> Task:
        current().actor.require("search:write")
        self._index(index)
        if not 1 <= len(documents) <= MAX_DOCUMENTS:
            raise invalid("documents", "out_of_range", f"must be from 1 to {MAX_DOCUMENTS}")
        given = [document.plain() for document in documents]
        async with self.db.transaction():
            row = await self.work.create("documents", index, given)
            await self.jobs.enqueue(self.carry_on, index)
        return _task(row)

    @on_all()
    async def index(self, envelope: Envelope) -> None:
        """What a declaration names becomes or changes a document; an older version changes nothing (S2)."""
        for name, declared in sorted(self.declared.items()):
            item = declared.searchable
            for cls in item.documents:
                if _type(cls) == envelope.type:
                    doc_id, fields = read(item, item.documents[cls](codec.loads(envelope.data, cls)))
                    await self._hear(name, envelope, cls, doc_id, fields)
            for cls in item.removals:
                if _type(cls) == envelope.type:
                    await self._hear(name, envelope, cls, item.removals[cls](codec.loads(envelope.data, cls)), None)

    @on(UserErased)
    async def forget(self, event: UserErased) -> None:
        """Remove a person's documents and words from every generation, and take none that still come (S31)."""
        person = str(event.user_id)
        await self.db.fetch("INSERT INTO search_erased (person) VALUES ($1) ON CONFLICT (person) DO NOTHING", person)
        # Those too that nobody declares any more: their documents are still there.
        for name in [row["name"] for row in await self.db.fetch("SELECT name FROM search_indexes ORDER BY name")]:
            batch = await Batch.begin(self.db, name, {})
            for row in await self.db.fetch(
                "SELECT id, state FROM search_sources WHERE index_name = $1 AND owner = $2", name, person
            ):
                state = State.loads(row["state"])
                state.forget()
                await self.db.fetch("UPDATE search_sources SET state = $2 WHERE id = $1", row["id"], state.dumps())
            generations = await self.db.fetch("SELECT id FROM search_generations WHERE index_name = $1", name)
            for scope in (f"{generation['id']}{form}" for generation in generations for form in FORMS):
                for row in await self.db.fetch(
                    "SELECT position, words, length FROM search_documents WHERE owner = $1 AND scope = $2",
                    person,
                    scope,
                ):
                    await batch.remove(scope, row)
            await batch.finish()
        await self.jobs.enqueue(self.compact)

    @job(retries=1000, cap=30.0, timeout=3600.0)
    async def carry_on(self, index: str) -> None:
        """Do the tasks of an index in their order."""
        try:
            while await self.work.step(index):
                pass
        except Unavailable as error:
            raise Retry(str(error)) from error

    @job()
    async def compact(self) -> None:
        """Let nothing of removed documents stay in the full text."""
        await shred(self.db)

    @job(every=timedelta(minutes=5))
    async def clean(self) -> None:
        """Remove the documents of retired generations, and old tasks."""
        now = self.clock.now()
        before = int((now - RETIRED).timestamp() * 1000)
        for row in await self.db.fetch(
            "SELECT id FROM search_generations WHERE status = 'retired' AND retired_ms < $1", before
        ):
            for form in FORMS:
                await self._clear(f"{row['id']}{form}")
            await self.db.fetch("DELETE FROM search_generations WHERE id = $1", row["id"])
        await TaskRow.delete().where(TaskRow.finished_at < now - KEPT_TASKS)

    async def _tell_of_reading(self, declared: Declared, owners: Sequence[str]) -> None:
        """Let it be recorded whose personal fields are shown to somebody else, or show none (U33)."""
        actor = current().actor
        fields = tuple(declared.searchable.personal)
        others = tuple(UUID(owner) for owner in sorted(owners) if owner != actor.id)
        # Whoever may not see everything is shown nothing of others but what is open to all.
        if fields and others and (actor.trusted or actor.may(declared.searchable.permission)):
            async with self.db.transaction():
                await self.events.publish(PersonalDataRead(actor.name, others, fields, "search.find", self.clock.now()))

    async def _clear(self, scope: str) -> None:
        while True:
            async with self.db.transaction():
                rows = await self.db.fetch("SELECT position FROM search_documents WHERE scope = $1 LIMIT 500", scope)
                if not rows:
                    break
                positions = [row["position"] for row in rows]
                holes = ", ".join(f"${number + 1}" for number in range(len(positions)))
                await drop_words(self.db, *positions)
                await self.db.fetch(f"DELETE FROM search_values WHERE document IN ({holes})", *positions)
                await self.db.fetch(f"DELETE FROM search_documents WHERE position IN ({holes})", *positions)
        await self.db.fetch("DELETE FROM search_words WHERE scope = $1", scope)
        await self.db.fetch("DELETE FROM search_scopes WHERE scope = $1", scope)

    async def _hear(
        self, name: str, envelope: Envelope, cls: type, doc_id: str, fields: dict[str, object] | None
    ) -> None:
        # Without an aggregate there is no sequence: then the newer time counts.
        version = envelope.sequence if event_type(cls).subject else int(envelope.time.timestamp() * 1000)
        batch = await Batch.begin(self.db, name, self.declared[name].order)
        service = envelope.service
        if fields is None:
            await batch.change(doc_id, lambda state: state.remove(service, version))
        else:
            await batch.change(doc_id, lambda state: state.hear(envelope.type, service, version, batch.round, fields))
        await batch.finish()

    async def _page(self, service: str, operation: str, cursor: str) -> object:
        owner = self.services.service(self.catalogue.contracts[service])
        return await getattr(owner, operation)(cursor)

    async def _prepare(self, name: str, declared: Declared) -> None:
        """Make an index that is new, and rebuild one that is declared otherwise than it was built."""
        layout = declared.layout.dumps()
        async with self.db.transaction():
            new = await self.db.fetch(
                "INSERT INTO search_indexes (name, serving, version) VALUES ($1, 0, 0) "
                "ON CONFLICT (name) DO NOTHING RETURNING name",
                name,
            )
            if new:
                made = await self.db.fetch(
                    "INSERT INTO search_generations (index_name, status, layout) "
                    "VALUES ($1, 'serving', $2) RETURNING id",
                    name,
                    layout,
                )
                await self.db.fetch("UPDATE search_indexes SET serving = $2 WHERE name = $1", name, made[0]["id"])
            elif (await self.db.fetch(_SERVING, name))[0]["layout"] != layout:
                await Batch.begin(self.db, name, declared.order)
                if await self.work.oldest(name, "rebuild") is None:
                    await self.work.create("rebuild", name)

    async def _status(self, name: str) -> IndexStatus:
        row = (await self.db.fetch("SELECT serving, building, version FROM search_indexes WHERE name = $1", name))[0]
        scope = f"{row['serving']}{FORMS[0]}"
        size = await self.db.fetch("SELECT documents FROM search_scopes WHERE scope = $1", scope)
        words = await self.db.fetch("SELECT count(*) AS count FROM search_words WHERE scope = $1 AND kind = 'w'", scope)
        waiting = await TaskRow.count().where(TaskRow.index_name == name, TaskRow.finished_at.is_null())
        oldest = await self.work.oldest(name)
        return IndexStatus(
            name=name,
            service=self.declared[name].service,
            documents=size[0]["documents"] if size else 0,
            words=words[0]["count"],
            version=row["version"],
            generation=row["serving"],
            building=row["building"],
            waiting_tasks=waiting,
            oldest_task=None if oldest is None else oldest.created_at,
        )

    def _index(self, name: str) -> Declared:
        found = self.declared.get(name)
        if found is None:
            known = ", ".join(sorted(self.declared)) or "none"
            raise NoSuchIndex(f"there is no index of this name; there are: {known}")
        return found


def _type(cls: type) -> str:
    kind = event_type(cls)
    return f"orion.{kind.name}.v{kind.version}"


def _task(row: TaskRow) -> Task:
    return Task(
        id=row.id,
        index=row.index_name,
        kind=row.kind,  # type: ignore[arg-type]  # written by us, and checked again by the value
        status=row.status,  # type: ignore[arg-type]
        done=row.done,
        refused=row.refused,
        detail=row.detail,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
    )


def _offset(query: Query) -> int:
    if not query.cursor:
        return query.offset
    if query.offset:
        raise Malformed("give an offset or a cursor, not both", errors=[FieldError("offset", "malformed", "not both")])
    found = _CURSOR.fullmatch(unpack(query.cursor).decode("utf-8", "replace"))
    if found is None or found[2] != _digest(query):
        raise bad_cursor()
    return int(found[1])


def _cursor(query: Query, offset: int) -> str:
    return pack(f"{offset}.{_digest(query)}".encode())


def _digest(query: Query) -> str:
    """Ties a cursor to its query: with another one it would leave out the wrong hits."""
    asked = json.dumps([query.index, query.text, query.filter, query.sort, query.mode])
    return hashlib.blake2b(asked.encode(), digest_size=6).hexdigest()
