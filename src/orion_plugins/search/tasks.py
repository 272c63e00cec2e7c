"""Work on indexes: adding documents, rebuilding, checking. Each task is done in small steps.

A step reads how far the task is, and writes what it did together with how far it is now, in one transaction. So a task
goes on after a crash where it stood, and any number of workers may do its steps.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import attrs
from piccolo.columns import Column

from orion_core.errors import Unavailable
from orion_core.filters import MAX_WHOLE
from orion_core.ids import new_id
from orion_core.plugin import Searchable
from orion_core.ports.clock import Clock
from orion_core.ports.database import Database, DatabaseUnavailable
from orion_plugins.search.dialect import is_sound, rewrite
from orion_plugins.search.documents import MAX_ID, Layout, State, read
from orion_plugins.search.tables import TaskPart, TaskRow
from orion_plugins.search.words import clean
from orion_plugins.search.writing import Batch

log = logging.getLogger("orion.search")

UNFINISHED = ("waiting", "running")
PATIENCE = timedelta(minutes=15)
"""How long a rebuild waits for an owner that is away, since it last got on."""
STEP = 100
"""Documents per transaction."""
Pages = Callable[[str], Awaitable[Any]]


@attrs.frozen
class Declared:
    """One index: what is declared of it, the place of each event in the declaration, and how its owner gives pages."""

    service: str
    searchable: Searchable
    layout: Layout
    order: Mapping[str, int]
    pages: Pages | None


@attrs.frozen
class Tasks:
    """The tasks of all indexes."""

    db: Database
    clock: Clock
    indexes: Mapping[str, Declared]

    async def create(self, kind: str, index: str = "", documents: Sequence[Any] = ()) -> TaskRow:
        """Write a new task, within a transaction; `documents` are those it is to take."""
        row = TaskRow(
            id=new_id(),
            index_name=index,
            kind=kind,
            status="waiting",
            cursor="",
            done=0,
            refused=0,
            outcomes="[]",
            detail="",
            created_at=self.clock.now(),
        )
        await TaskRow.insert(row)
        for first in range(0, len(documents), STEP):
            part = json.dumps(documents[first : first + STEP])
            await TaskPart.insert(TaskPart(task=row.id, first=first, documents=part))
        return row

    async def oldest(self, index: str, kind: str = "") -> TaskRow | None:
        """The oldest task of the index that is not finished, of this kind if one is named."""
        query = TaskRow.objects().where(TaskRow.index_name == index, TaskRow.status.is_in(list(UNFINISHED)))
        if kind:
            query = query.where(TaskRow.kind == kind)
        return await query.order_by(TaskRow.id).first()

    async def step(self, index: str) -> bool:
        """Do one step of the oldest task of the index; False when there is none.

        Raises `Unavailable` while an owner is away.
        """
        task = await self.oldest(index)
        if task is None:
            return False
        if task.kind == "check":
            await self._check(task)
            return True
        if index not in self.indexes:
            await self._fail(task, "no installed service declares this index")
            return True
        try:
            await (self._add(task) if task.kind == "documents" else self._rebuild(task))
        except DatabaseUnavailable:
            raise
        except Unavailable:
            if task.moved_at is None or self.clock.now() - task.moved_at < PATIENCE:
                raise
            await self._fail(task, f"{self.indexes[index].service} cannot be reached")
        except Exception as error:
            log.exception("task %s on the index %s failed", task.id, index)
            await self._fail(task, f"{type(error).__name__}: {error}"[:500])
        return True

    async def _same(self, task: TaskRow) -> TaskRow | None:
        """The task as it is now, if nobody has done this step meanwhile. The index is locked."""
        now = await TaskRow.objects().where(TaskRow.id == task.id).first()
        same = now is not None and (now.status, now.cursor, now.done) == (task.status, task.cursor, task.done)
        return now if same else None

    async def _save(self, task: TaskRow, **columns: Any) -> None:
        now = columns.get("finished_at", self.clock.now())
        if task.started_at is None:
            task.started_at = columns["started_at"] = now
        changed: dict[Column | str, Any] = {"status": "running", "moved_at": now}
        changed.update(columns)
        await TaskRow.update(changed).where(TaskRow.id == task.id)

    async def _finish(self, task: TaskRow, status: str, detail: str = "", **columns: Any) -> None:
        await TaskPart.delete().where(TaskPart.task == task.id)
        await self._save(task, status=status, detail=detail, finished_at=self.clock.now(), **columns)

    async def _fail(self, task: TaskRow, detail: str) -> None:
        """End the task; the generation that answers stays."""
        async with self.db.transaction():
            if task.index_name in self.indexes:
                batch = await Batch.begin(self.db, task.index_name, {})
                if task.kind == "rebuild" and batch.building is not None:
                    await self._retire(batch.building)
                    await self.db.fetch("UPDATE search_indexes SET building = NULL WHERE name = $1", task.index_name)
            await self._finish(task, "failed", detail)

    async def _retire(self, generation: int) -> None:
        await self.db.fetch(
            "UPDATE search_generations SET status = 'retired', retired_ms = $2 WHERE id = $1",
            generation,
            int(self.clock.now().timestamp() * 1000),
        )

    async def _check(self, task: TaskRow) -> None:
        await self._save(task)
        sound = await is_sound(self.db)
        if not sound:
            log.error("the full text of search is damaged: making it anew from the documents")
            await rewrite(self.db)
        await self._finish(task, "succeeded", "" if sound else "was damaged, made anew from the documents")

    # Adding documents

    async def _add(self, task: TaskRow) -> None:
        declared = self.indexes[task.index_name]
        async with self.db.transaction():
            batch = await Batch.begin(self.db, task.index_name, declared.order)
            current = await self._same(task)
            if current is None:
                return
            part = await TaskPart.objects().where(TaskPart.task == task.id).order_by(TaskPart.first).first()
            outcomes: list[Any] = json.loads(current.outcomes)
            refused = current.refused
            for number, given in enumerate(json.loads(part.documents) if part else (), current.done + 1):
                doc_id, why = await _take(batch, declared.searchable, given)
                outcomes.append([number, doc_id, why])
                refused += bool(why)
            await batch.finish()
            so_far: dict[str, Any] = {
                "done": len(outcomes),
                "refused": refused,
                "outcomes": json.dumps(outcomes, ensure_ascii=False),
            }
            await TaskPart.delete().where(TaskPart.task == task.id, TaskPart.first < len(outcomes))
            if await TaskPart.exists().where(TaskPart.task == task.id):
                await self._save(current, **so_far)
            else:
                await self._finish(current, "succeeded", **so_far)

    # Rebuilding: pages of the owner (or what is stored, without an owner to ask), then what nobody named, then the swap

    async def _rebuild(self, task: TaskRow) -> None:
        declared = self.indexes[task.index_name]
        if not task.cursor:
            await self._begin(task, declared)
            return
        phase, at = json.loads(task.cursor)
        page = await declared.pages(at) if phase == "pages" and declared.pages is not None else None
        async with self.db.transaction():
            batch = await Batch.begin(self.db, task.index_name, declared.order)
            current = await self._same(task)
            if current is None:
                return
            if page is not None:
                await self._refill(batch, current, declared.searchable, page)
            elif phase == "sources":
                await self._restate(batch, current, at)
            elif not await self._sweep(batch):
                await self._swap(batch, current)
            await batch.finish()

    async def _begin(self, task: TaskRow, declared: Declared) -> None:
        async with self.db.transaction():
            batch = await Batch.begin(self.db, task.index_name, declared.order)
            current = await self._same(task)
            if current is None:
                return
            if batch.building is not None:
                await self._retire(batch.building)
            made = await self.db.fetch(
                "INSERT INTO search_generations (index_name, status, layout) VALUES ($1, 'building', $2) RETURNING id",
                task.index_name,
                declared.layout.dumps(),
            )
            await self.db.fetch(
                "UPDATE search_indexes SET building = $2 WHERE name = $1", task.index_name, made[0]["id"]
            )
            await self._save(current, cursor=json.dumps(["pages", ""] if declared.pages else ["sources", 0]))

    async def _refill(self, batch: Batch, task: TaskRow, declared: Searchable, page: Any) -> None:
        outcomes: list[Any] = json.loads(task.outcomes)
        refused = task.refused
        for number, given in enumerate(page.documents, task.done + 1):
            try:
                doc_id, fields = read(declared, given.plain())
            except ValueError as error:
                refused += 1
                outcomes.append([number, "", str(error)])
            else:
                await batch.refill(doc_id, fields)
        following = ["sweep", 0] if page.next_cursor is None else ["pages", page.next_cursor]
        await self._save(
            task,
            cursor=json.dumps(following),
            done=task.done + len(page.documents),
            refused=refused,
            outcomes=json.dumps(outcomes[:1000], ensure_ascii=False),
        )

    async def _restate(self, batch: Batch, task: TaskRow, at: int) -> None:
        rows = await self.db.fetch(
            f"SELECT id, doc_id FROM search_sources WHERE index_name = $1 AND id > $2 ORDER BY id LIMIT {STEP}",
            task.index_name,
            at,
        )
        for row in rows:
            await batch.restate(row["doc_id"])
        following = ["sources", rows[-1]["id"]] if rows else ["sweep", 0]
        await self._save(task, cursor=json.dumps(following), done=task.done + len(rows))

    async def _sweep(self, batch: Batch) -> bool:
        """Forget what the owner did not name and nobody spoke of since; False when there is nothing left of it."""
        rows = await self.db.fetch(
            f"SELECT id, state FROM search_sources WHERE index_name = $1 AND generation < $2 LIMIT {STEP}",
            batch.index,
            batch.round,
        )
        for row in rows:
            state = State.loads(row["state"])
            state.rebase(batch.round, None)
            await self.db.fetch(
                "UPDATE search_sources SET state = $2, generation = $3 WHERE id = $1",
                row["id"],
                state.dumps(),
                batch.round,
            )
        return bool(rows)

    async def _swap(self, batch: Batch, task: TaskRow) -> None:
        await self._retire(batch.serving)
        await self.db.fetch("UPDATE search_generations SET status = 'serving' WHERE id = $1", batch.building)
        await self.db.fetch(
            "UPDATE search_indexes SET serving = $2, building = NULL WHERE name = $1", batch.index, batch.building
        )
        await self._finish(task, "succeeded")


async def _take(batch: Batch, declared: Searchable, given: Any) -> tuple[str, str]:
    """Take one document; its id, and why it was refused or an empty text."""
    doc_id = given.get("id") if isinstance(given, dict) else None
    shown = clean(doc_id[:MAX_ID]) if isinstance(doc_id, str) else ""
    try:
        version = given.get("version") if isinstance(given, dict) else None
        if isinstance(version, bool) or not isinstance(version, int) or not 1 <= version <= MAX_WHOLE:
            raise ValueError("version must be a whole number of at least 1")
        taken, fields = read(declared, {name: item for name, item in given.items() if name != "version"})
    except ValueError as error:
        return shown, str(error)
    await batch.change(taken, lambda state: state.hear("", "", version, batch.round, fields))
    return taken, ""


def outcomes_of(row: TaskRow) -> Sequence[tuple[int, str, str]]:
    """(line, id, why refused) of each document that is on record."""
    return [(line, doc_id, why) for line, doc_id, why in json.loads(row.outcomes)]
