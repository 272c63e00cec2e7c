"""The one way in which an index changes: documents, values, vocabulary and full text in one transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs

from orion_core.ports.database import Database
from orion_plugins.search.dialect import drop_words, put_words
from orion_plugins.search.documents import FULL, OPEN, Form, Layout, State, forms, person
from orion_plugins.search.words import stem

FORMS = (FULL, OPEN)
_ROWS = 100
_LOCK = "UPDATE search_indexes SET version = version + 1 WHERE name = $1 RETURNING serving, building"
_BUILDS = "SELECT id, layout FROM search_generations WHERE index_name = $1 AND status <> 'retired' ORDER BY id"
_STATE = "SELECT state, owner FROM search_sources WHERE index_name = $1 AND doc_id = $2"
_PUT_STATE = """
INSERT INTO search_sources (index_name, doc_id, owner, generation, state) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (index_name, doc_id) DO UPDATE SET
    owner = excluded.owner, generation = excluded.generation, state = excluded.state
"""
_FIND = "SELECT position, owner, fields, words, length FROM search_documents WHERE scope = $1 AND doc_id = $2"
_INSERT = """
INSERT INTO search_documents (scope, doc_id, owner, fields, words, length) VALUES ($1, $2, $3, $4, $5, $6)
RETURNING position
"""
_UPDATE = "UPDATE search_documents SET owner = $2, fields = $3 WHERE position = $1"
_UPDATE_WORDS = "UPDATE search_documents SET words = $2, length = $3 WHERE position = $1"
_SCOPE = """
INSERT INTO search_scopes (scope, documents, words) VALUES ($1, $2, $3) ON CONFLICT (scope) DO UPDATE SET
    documents = search_scopes.documents + excluded.documents, words = search_scopes.words + excluded.words
"""


@attrs.frozen
class Build:
    """One generation that is written: the one that answers, or the one being filled."""

    id: int
    layout: Layout


@attrs.define
class Batch:
    """Changes of one index within one transaction. Make one with `begin`, and call `finish` before the commit.

    The index is locked until then, so that its changes have an order and nobody counts what another changes.
    """

    db: Database
    index: str
    order: Mapping[str, int]
    builds: tuple[Build, ...]
    serving: int
    building: int | None
    _words: Counter[tuple[str, str, str]] = attrs.field(factory=Counter)
    _scopes: dict[str, list[int]] = attrs.field(factory=dict)

    @classmethod
    async def begin(cls, db: Database, index: str, order: Mapping[str, int]) -> Batch:
        """Lock the index; `order` gives the place of each event in its declaration."""
        locked = (await db.fetch(_LOCK, index))[0]
        builds = [Build(row["id"], Layout.loads(row["layout"])) for row in await db.fetch(_BUILDS, index)]
        return cls(db, index, order, tuple(builds), locked["serving"], locked["building"])

    @property
    def round(self) -> int:
        """The newest generation: what is heard from now on belongs to it."""
        return self.building or self.serving

    async def change(self, doc_id: str, how: Callable[[State], bool]) -> None:
        """Let `how` change what is known of a document, and the generations with it if it was news."""
        state, owner = await self._state(doc_id)
        if how(state):
            await self._write(doc_id, state, owner, self.builds)

    async def refill(self, doc_id: str, fields: dict[str, Any]) -> None:
        """Take the document as its owner has it into the generation being filled."""
        state, owner = await self._state(doc_id)
        state.rebase(self.round, fields)
        await self._write(doc_id, state, owner, [build for build in self.builds if build.id == self.building])

    async def restate(self, doc_id: str) -> None:
        """Write what is known of a document into the generation being filled."""
        state, owner = await self._state(doc_id)
        await self._write(doc_id, state, owner, [build for build in self.builds if build.id == self.building])

    async def _state(self, doc_id: str) -> tuple[State, str]:
        found = await self.db.fetch(_STATE, self.index, doc_id)
        return (State.loads(found[0]["state"]), found[0]["owner"]) if found else (State(), "")

    async def _write(self, doc_id: str, state: State, owner: str, builds: Iterable[Build]) -> None:
        fields = state.merged(self.order)
        # Of what is gone, something may be remembered: whose it is must stay known, for the day they are erased.
        owner = person({**(fields or {}), "id": doc_id}.get(self.builds[-1].layout.owner)) or owner
        if owner and await self.db.fetch("SELECT person FROM search_erased WHERE person = $1", owner):
            state.forget()
            fields = None
        if state.is_gone:
            fields = None
        await self.db.fetch(_PUT_STATE, self.index, doc_id, owner, self.round, state.dumps())
        for build in builds:
            wanted = {} if fields is None else forms(build.layout, doc_id, fields)
            for form in FORMS:
                await self.put(f"{build.id}{form}", doc_id, wanted.get(form))

    async def put(self, scope: str, doc_id: str, form: Form | None) -> None:
        """Make the document of a scope say `form`, or remove it."""
        found = await self.db.fetch(_FIND, scope, doc_id)
        if not found:
            if form is not None:
                await self._insert(scope, doc_id, form)
            return
        old = found[0]
        position = old["position"]
        if form is None:
            await self.remove(scope, old)
            return
        # What is neither text nor owner changes no full text.
        rewritten = (old["owner"], old["words"]) != (form.owner, form.words)
        if rewritten:
            await drop_words(self.db, position)
        if (old["owner"], old["fields"]) != (form.owner, form.fields):
            await self.db.fetch(_UPDATE, position, form.owner, form.fields)
            await self.db.fetch("DELETE FROM search_values WHERE document = $1", position)
            await self._put_values(scope, position, form)
        if rewritten:
            await self.db.fetch(_UPDATE_WORDS, position, form.words, form.length)
            await put_words(self.db, position)
            self._count(scope, old["words"], -1)
            self._count(scope, form.words, 1)
            self._size(scope, 0, form.length - old["length"])

    async def remove(self, scope: str, row: Mapping[str, Any]) -> None:
        """Remove the document in `row` (position, words, length) with all that belongs to it."""
        await drop_words(self.db, row["position"])
        await self.db.fetch("DELETE FROM search_values WHERE document = $1", row["position"])
        await self.db.fetch("DELETE FROM search_documents WHERE position = $1", row["position"])
        self._count(scope, row["words"], -1)
        self._size(scope, -1, -row["length"])

    async def finish(self) -> None:
        """Write the counts that changed."""
        for scope, (documents, words) in sorted(self._scopes.items()):
            await self.db.fetch(_SCOPE, scope, documents, words)
        changed = sorted((key, count) for key, count in self._words.items() if count)
        for at in range(0, len(changed), _ROWS):
            await self._put_counts(changed[at : at + _ROWS])
        gone: dict[tuple[str, str], list[str]] = {}
        for (scope, kind, word), count in changed:
            if count < 0:
                gone.setdefault((scope, kind), []).append(word)
        for (scope, kind), vanished in gone.items():
            for at in range(0, len(vanished), _ROWS):
                some = vanished[at : at + _ROWS]
                holes = ", ".join(f"${3 + number}" for number in range(len(some)))
                await self.db.fetch(
                    f"DELETE FROM search_words WHERE scope = $1 AND kind = $2 AND word IN ({holes}) AND documents <= 0",
                    scope,
                    kind,
                    *some,
                )
        self._words.clear()
        self._scopes.clear()

    async def _put_counts(self, rows: list[tuple[tuple[str, str, str], int]]) -> None:
        holes = ", ".join(
            f"(${at + 1}, ${at + 2}, ${at + 3}, ${at + 4}, ${at + 5})" for at in range(0, len(rows) * 5, 5)
        )
        args = [
            item
            for (scope, kind, word), count in rows
            for item in (scope, kind, word, stem(word) if kind == "w" else "", count)
        ]
        await self.db.fetch(
            f"INSERT INTO search_words (scope, kind, word, stem, documents) VALUES {holes} "
            "ON CONFLICT (scope, kind, word) DO UPDATE SET documents = search_words.documents + excluded.documents",
            *args,
        )

    async def _insert(self, scope: str, doc_id: str, form: Form) -> None:
        inserted = await self.db.fetch(_INSERT, scope, doc_id, form.owner, form.fields, form.words, form.length)
        position = inserted[0]["position"]
        await put_words(self.db, position)
        await self._put_values(scope, position, form)
        self._count(scope, form.words, 1)
        self._size(scope, 1, form.length)

    async def _put_values(self, scope: str, position: int, form: Form) -> None:
        for at in range(0, len(form.values), _ROWS):
            some = form.values[at : at + _ROWS]
            holes = ", ".join(f"(${n + 1}, ${n + 2}, ${n + 3}, ${n + 4}, ${n + 5})" for n in range(0, len(some) * 5, 5))
            args = [item for field, text, number in some for item in (position, scope, field, text, number)]
            await self.db.fetch(
                f"INSERT INTO search_values (document, scope, field, text, number) VALUES {holes}", *args
            )

    def _count(self, scope: str, words: str, by: int) -> None:
        different = set(words.replace("|", " ").split())
        for word in different:
            self._words[scope, "w", word] += by
        for root in {stem(word) for word in different}:
            self._words[scope, "s", root] += by

    def _size(self, scope: str, documents: int, words: int) -> None:
        size = self._scopes.setdefault(scope, [0, 0])
        size[0] += documents
        size[1] += words
