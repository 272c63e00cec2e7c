"""The service `search` built by hand, with two services that tell of notes and of shelves."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import attrs

from orion_core import codec
from orion_core.adapters.choose import open_database
from orion_core.context import SYSTEM, Actor, acting
from orion_core.contracts.search import Query, Results, Search
from orion_core.events import Envelope, event, event_type
from orion_core.ids import new_id
from orion_core.json_value import Json
from orion_core.migrate import CORE, MigrationApp, up
from orion_core.outbox import Outbox
from orion_core.plugin import Catalogue, Plugin, Searchable
from orion_core.queue import JobQueue
from orion_core.settings import Settings
from orion_core.testing.clock import MovableClock
from orion_plugins.search.dialect import is_sqlite
from orion_plugins.search.plugin import orion_plugin
from orion_plugins.search.service import SearchService

MIGRATIONS = "orion_plugins.search.migrations"
TABLES = tuple(orion_plugin().tables)
ADA, GRACE = UUID(int=1), UUID(int=2)


@event("note.written", subject="note_id")
class NoteWritten:
    note_id: str
    title: str
    body: str
    owner: str


@event("note.tagged", subject="note_id")
class NoteTagged:
    note_id: str
    tags: tuple[str, ...]


@event("note.removed", subject="note_id")
class NoteRemoved:
    note_id: str


@event("shelf.filed", subject="note_id")
class Filed:
    note_id: str
    shelf: str


NOTES = Searchable(
    index="notes",
    documents={
        NoteWritten: lambda told: {"id": told.note_id, "title": told.title, "body": told.body, "owner": told.owner},
        NoteTagged: lambda told: {"id": told.note_id, "tags": list(told.tags)},
        Filed: lambda told: {"id": told.note_id, "shelf": told.shelf},
    },
    removals={NoteRemoved: lambda told: told.note_id},
    text={"title": 5, "body": 1},
    filterable={
        "title": str,
        "tags": str,
        "shelf": str,
        "pages": int,
        "price": float,
        "at": datetime,
        "public": bool,
        "ref": UUID,
    },
    owner="owner",
    permission="notes:read",
)


class Owners:
    """Reaches contracts as tests say."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self.answers = answers

    def service(self, contract: Any) -> Any:
        return self.answers[contract]


class Told:
    """A catalogue whose owner is not a contract but a name."""

    def __init__(self, items: Sequence[Searchable]) -> None:
        self._plugin = Plugin("notes", searchable=items)

    @property
    def searchable(self) -> Mapping[str, tuple[str, Searchable]]:
        return Catalogue({"notes": self._plugin}).searchable

    @property
    def contracts(self) -> Mapping[str, Any]:
        return {"notes": "notes"}


@asynccontextmanager
async def searching(url: str, *items: Searchable, owner: Any = None) -> AsyncIterator[SearchService]:
    """The service on a database of its own, not entered twice."""
    db = await open_database(Settings(database_url=url, synchronous="NORMAL"), "search")
    try:
        await up(db, [CORE, MigrationApp("search", MIGRATIONS)])
        for table in TABLES:
            table._meta.db = db.engine  # type: ignore[attr-defined]  # they are Piccolo's
        clock = MovableClock()
        queue = JobQueue("search", db, clock)
        service = SearchService(
            db=db,
            events=Outbox("search", Search, db, clock),
            jobs=queue,
            clock=clock,
            catalogue=Told(items or (NOTES,)),  # type: ignore[arg-type]  # all that the service asks of one
            services=Owners({"notes": owner}),
        )
        queue.serve(service)
        async with service:
            yield service
    finally:
        await db.aclose()


def envelope(told: Any, sequence: int, service: str = "notes") -> Envelope:
    """The event `told` as it arrives."""
    kind = event_type(type(told))
    return Envelope(
        id=new_id(),
        name=kind.name,
        version=kind.version,
        source=f"/orion/{service}",
        subject=str(getattr(told, kind.subject)),
        sequence=sequence,
        time=datetime.now(UTC),
        data=codec.dumps(told),
        correlation_id="",
        causation_id="",
        started="",
        tracestate="",
        originator="system",
        heard=False,
    )


async def hear(service: SearchService, *envelopes: Envelope) -> None:
    """Deliver events one by one, each in a transaction as the inbox does it."""
    for each in envelopes:
        async with service.db.transaction():
            await service.index(each)


async def put(service: SearchService, documents: Iterable[Mapping[str, Any]], index: str = "notes") -> None:
    """Take documents in at once, as a task does."""
    given = tuple(Json.of({"version": 1, **document}) for document in documents)
    with acting(SYSTEM):
        for at in range(0, len(given), 10_000):
            await service.add(index, given[at : at + 10_000])
            while await service.work.step(index):
                pass


async def find(service: SearchService, text: str = "", who: Actor = SYSTEM, **options: Any) -> Results:
    """One query as `who`."""
    with acting(who):
        return await service.find(Query(**{"index": "notes", "text": text, **options}))


async def ids(service: SearchService, text: str = "", who: Actor = SYSTEM, **options: Any) -> list[str]:
    """The ids of one query's hits in order."""
    return [hit.id for hit in (await find(service, text, who, **options)).items]


def user(person: UUID, *permissions: str) -> Actor:
    return Actor("user", str(person), permissions=permissions)


async def dump(service: SearchService, index: str = "notes") -> Any:
    """Everything that the serving generation consists of, but for numbers that only order rows."""
    scope = (await service.db.fetch("SELECT serving FROM search_indexes WHERE name = $1", index))[0]["serving"]
    found = {}
    for form in ("f", "o"):
        documents = await service.db.fetch(
            "SELECT doc_id, owner, fields, words, length FROM search_documents WHERE scope = $1 ORDER BY doc_id",
            f"{scope}{form}",
        )
        values = await service.db.fetch(
            "SELECT d.doc_id, v.field, v.text, v.number FROM search_values v "
            "JOIN search_documents d ON d.position = v.document WHERE v.scope = $1",
            f"{scope}{form}",
        )
        words = await service.db.fetch(
            "SELECT kind, word, stem, documents FROM search_words WHERE scope = $1 ORDER BY kind, word",
            f"{scope}{form}",
        )
        sizes = await service.db.fetch("SELECT documents, words FROM search_scopes WHERE scope = $1", f"{scope}{form}")
        found[form] = {
            "documents": [
                (row["doc_id"], row["owner"], json.loads(row["fields"]), row["words"], row["length"])
                for row in documents
            ],
            "values": sorted(str(sorted(row.items())) for row in values),
            "words": [tuple(row.values()) for row in words],
            "sizes": [tuple(row.values()) for row in sizes if row["documents"] or row["words"]],
        }
    return found


async def empty(service: SearchService) -> None:
    """Forget everything but the indexes."""
    if is_sqlite(service.db):
        await service.db.fetch("INSERT INTO search_text (search_text) VALUES ('delete-all')")
    for table in ("documents", "values", "words", "scopes", "sources", "tasks", "task_parts", "erased"):
        await service.db.fetch(f"DELETE FROM search_{table}")


def with_index(name: str, declared: Searchable = NOTES, **changes: Any) -> Searchable:
    return attrs.evolve(declared, index=name, **changes)
