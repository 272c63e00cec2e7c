"""Answering a query: candidates and their exact number in one statement, then scores that are computed here."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import attrs

from orion_core.contracts.search import Hit, Query
from orion_core.errors import FieldError, Malformed
from orion_core.filters import Filter, Order
from orion_core.json_value import Json
from orion_core.ports.database import Database
from orion_plugins.search.conditions import Arguments, View, filtered, phrased, sorted_by
from orion_plugins.search.dialect import expression, matching
from orion_plugins.search.documents import Layout, text_of
from orion_plugins.search.highlights import highlight
from orion_plugins.search.queries import Asked
from orion_plugins.search.ranking import Statistics, Term, score
from orion_plugins.search.words import may_continue, stem

DEPTH = 1000
"""How many hits can be reached by paging, and how many are scored at most."""
AT_ONCE = 50_000
"""How many words are looked at before others have a turn."""
_LAST = "\U0010fffd"


@attrs.frozen
class Page:
    """The hits of one page, the people they belong to, and the number of hits on all pages."""

    items: tuple[Hit, ...]
    total: int
    owners: tuple[str, ...] = ()


@attrs.frozen
class Found:
    """One candidate."""

    position: int
    doc_id: str
    words: str
    length: int
    matched: int = 0
    whole: int = 0


@attrs.frozen
class Reader:
    """One query on one generation, as somebody sees it."""

    db: Database
    layout: Layout
    view: View
    asked: Asked
    wanted: Filter | None
    orders: tuple[Order, ...]
    query: Query

    async def page(self, offset: int) -> Page | None:
        """The page that begins at `offset`; None when a document went away between two statements: ask again."""
        if self.asked.nothing:
            return Page((), 0)
        limit = self.query.limit
        terms = await self._terms()
        if not limit:
            return Page((), await self._total(terms))
        if offset + limit > DEPTH:
            detail = f"only the first {DEPTH} hits can be reached: narrow the query, or ask for less"
            raise Malformed(f"offset: {detail}", errors=[FieldError("offset", "too_deep", detail)])
        scored, statistics = await self._statistics([*terms, *self._phrase_terms()])
        if self.orders or not scored:
            found, total = await self._sorted(terms, offset, limit)
            ranked = [(self._score(item, scored, statistics), item) for item in found]
        else:
            found, total = await self._candidates(terms, scored, statistics)
            every = await self._scored(found, scored, statistics)
            every.sort(key=lambda pair: (-pair[1].matched, -pair[1].whole, -pair[0], pair[1].doc_id))
            ranked = every[offset : offset + limit]
        return await self._load(ranked, scored, total)

    # Terms and their statistics

    async def _terms(self) -> list[Term]:
        """The words with those of the same stem that occur anywhere in the scopes of the caller."""
        if not self.asked.words:
            return []
        families = await self._families(self.asked.words)
        return [
            Term(
                words=families[word],
                documents=0,
                prefix=word if word == self.asked.prefix else _rest(word),
            )
            for word in self.asked.words
        ]

    def _phrase_terms(self) -> list[Term]:
        words = dict.fromkeys(
            (word, _rest(word) if at == len(phrase) else "")
            for phrase in self.asked.phrases
            for at, word in enumerate(phrase, 1)
        )
        return [Term(frozenset((word,)), 0, prefix) for word, prefix in words]

    async def _families(self, words: Sequence[str]) -> dict[str, frozenset[str]]:
        arguments = Arguments()
        stems = {word: stem(word) for word in words}
        rows = await self.db.fetch(
            f"SELECT DISTINCT word, stem FROM search_words WHERE scope IN ({arguments.several(self.view.scopes)}) "
            f"AND kind = 'w' AND stem IN ({arguments.several(sorted(set(stems.values())))})",
            *arguments.values,
        )
        found: dict[str, set[str]] = {word: {word} for word in words}
        for row in rows:
            for word, root in stems.items():
                if root == row["stem"]:
                    found[word].add(row["word"])
        return {word: frozenset(family) for word, family in found.items()}

    async def _statistics(self, terms: Sequence[Term]) -> tuple[list[Term], Statistics]:
        """`terms` with their counts, over what the caller may see: a score tells nothing of the rest."""
        if not terms:
            return [], Statistics(0, 0)
        if not self.view.statistics:
            return await self._counted(terms)
        scope = self.view.statistics
        sizes = await self.db.fetch("SELECT documents, words FROM search_scopes WHERE scope = $1", scope)
        documents, words = (sizes[0]["documents"], sizes[0]["words"]) if sizes else (0, 0)
        roots = [stem(min(term.words)) for term in terms]
        known = await self._known(scope, sorted(set(roots)))
        counted = [
            attrs.evolve(
                term,
                documents=known.get(root, 0),
                longer=await self._longer(scope, term.prefix) if term.prefix else 0,
            )
            for term, root in zip(terms, roots, strict=True)
        ]
        return counted, Statistics(documents, words / documents if documents else 0)

    async def _known(self, scope: str, stems: Sequence[str]) -> dict[str, int]:
        arguments = Arguments()
        rows = await self.db.fetch(
            f"SELECT word, documents FROM search_words WHERE scope = {arguments.add(scope)} "
            f"AND kind = 's' AND word IN ({arguments.several(stems)})",
            *arguments.values,
        )
        return {row["word"]: row["documents"] for row in rows}

    async def _longer(self, scope: str, prefix: str) -> int:
        rows = await self.db.fetch(
            "SELECT CAST(coalesce(sum(documents), 0) AS bigint) AS count FROM search_words "
            "WHERE scope = $1 AND kind = 'w' AND word >= $2 AND word <= $3",
            scope,
            prefix,
            prefix + _LAST,
        )
        return int(rows[0]["count"])

    async def _counted(self, terms: Sequence[Term]) -> tuple[list[Term], Statistics]:
        arguments = Arguments()
        visible = self.view.condition(arguments)
        sizes = await self.db.fetch(
            "SELECT count(*) AS documents, coalesce(sum(d.length), 0) AS words "
            f"FROM search_documents d WHERE {visible}",
            *arguments.values,
        )
        counted = [
            attrs.evolve(
                term,
                documents=await self._occurs(sorted(term.words), ""),
                longer=await self._occurs([], term.prefix) if term.prefix else 0,
            )
            for term in terms
        ]
        documents = sizes[0]["documents"]
        return counted, Statistics(documents, float(sizes[0]["words"]) / documents if documents else 0)

    async def _occurs(self, words: Sequence[str], prefix: str) -> int:
        arguments = Arguments()
        wanted = arguments.add(expression(self.db, self.view.reach, words, prefix))
        rows = await self.db.fetch(
            f"SELECT count(*) AS count FROM search_documents d WHERE d.position IN ({matching(self.db, wanted)}) "
            f"AND {self.view.condition(arguments)}",
            *arguments.values,
        )
        return int(rows[0]["count"])

    # Hits

    async def _total(self, terms: Sequence[Term]) -> int:
        arguments = Arguments()
        rows = await self.db.fetch(
            f"SELECT count(*) AS total FROM {await self._from(terms, arguments)}", *arguments.values
        )
        return int(rows[0]["total"])

    async def _candidates(
        self, terms: Sequence[Term], scored: Sequence[Term], statistics: Statistics
    ) -> tuple[list[Found], int]:
        """All hits, or of more than `DEPTH` those with the most and the rarest words, the shorter ones first."""
        arguments = Arguments()
        rarity = [round(1000 * statistics.idf(term.documents)) for term in scored[: len(terms)]]
        source = await self._from(terms, arguments, rarity)
        keys = "h.matched DESC, h.whole DESC, h.weight DESC, " if terms else ""
        columns = ", h.matched, h.whole" if terms else ""
        rows = await self.db.fetch(
            "SELECT c.*, w.words FROM "
            f"(SELECT d.position, d.doc_id, d.length{columns}, count(*) OVER () AS total FROM {source} "
            f"ORDER BY {keys}d.length, d.doc_id LIMIT {DEPTH}) AS c "
            "JOIN search_documents w ON w.position = c.position",
            *arguments.values,
        )
        return _found(rows)

    async def _sorted(self, terms: Sequence[Term], offset: int, limit: int) -> tuple[list[Found], int]:
        arguments = Arguments()
        columns, keys = sorted_by(self.orders, self.layout.types, arguments)
        source = await self._from(terms, arguments)
        rows = await self.db.fetch(
            # Words are read for the page alone: a sort carries its columns for every hit.
            f"SELECT found.*, w.words, w.length FROM (SELECT * FROM "
            f"(SELECT d.position, d.doc_id, count(*) OVER () AS total{columns} FROM {source}) AS found "
            f"ORDER BY {keys}found.doc_id LIMIT {limit} OFFSET {offset}) AS found "
            f"JOIN search_documents w ON w.position = found.position ORDER BY {keys}found.doc_id",
            *arguments.values,
        )
        found, total = _found(rows)
        return found, total if rows or not offset else await self._total(terms)

    async def _from(self, terms: Sequence[Term], arguments: Arguments, rarity: Sequence[int] = ()) -> str:
        """The FROM and WHERE of all hits. What the caller may see is always joined by AND."""
        db, reach = self.db, self.view.reach
        conditions = [self.view.condition(arguments)]
        for phrase in self.asked.phrases:
            for at, word in enumerate(phrase, 1):
                contained = expression(db, reach, [word], _rest(word) if at == len(phrase) else "")
                conditions.append(f"d.position IN ({matching(db, arguments.add(contained))})")
            conditions.append(phrased(db, phrase, arguments))
        for phrase in self.asked.excluded:
            if len(phrase) > 1:
                conditions.append(f"NOT {phrased(db, phrase, arguments)}")
                continue
            family = (await self._families(phrase))[phrase[0]]
            excluded = arguments.add(expression(db, reach, sorted(family), _rest(phrase[0])))
            conditions.append(f"d.position NOT IN ({matching(db, excluded)})")
        if self.wanted is not None:
            conditions.append(filtered(db, self.wanted, self.layout.types, arguments))
        if not terms:
            return f"search_documents d WHERE {' AND '.join(conditions)}"
        if self.query.mode == "all":
            conditions.append(f"h.matched = {len(terms)}")
        return f"{self._hits(terms, arguments, rarity)} WHERE {' AND '.join(conditions)}"

    def _hits(self, terms: Sequence[Term], arguments: Arguments, rarity: Sequence[int]) -> str:
        db, reach = self.db, self.view.reach
        selects = []
        for at, term in enumerate(terms):
            weight = rarity[at] if rarity else 0
            words = sorted(term.words)
            whole = matching(db, arguments.add(expression(db, reach, words)))
            if term.prefix:
                begun = matching(db, arguments.add(expression(db, reach, words, term.prefix)))
                selects.append(f"SELECT position, 1 AS matched, 0 AS whole, 0 AS weight FROM ({begun}) AS t{at}")
                selects.append(f"SELECT position, 0, 1, {weight} FROM ({whole}) AS w{at}")
            else:
                selects.append(f"SELECT position, 1 AS matched, 1 AS whole, {weight} AS weight FROM ({whole}) AS t{at}")
        return (
            "(SELECT position, sum(matched) AS matched, sum(whole) AS whole, sum(weight) AS weight "
            f"FROM ({' UNION ALL '.join(selects)}) AS each_term GROUP BY position) AS h "
            "JOIN search_documents d ON d.position = h.position"
        )

    # Answers

    async def _scored(
        self, found: Sequence[Found], terms: Sequence[Term], statistics: Statistics
    ) -> list[tuple[float, Found]]:
        scored = []
        words = 0
        for item in found:
            scored.append((self._score(item, terms, statistics), item))
            words += item.length
            if words > AT_ONCE:
                # Long documents take seconds together: everybody else has a turn meanwhile.
                words = 0
                await asyncio.sleep(0)
        return scored

    def _score(self, found: Found, terms: Sequence[Term], statistics: Statistics) -> float:
        return score(found.words, found.length, self.layout.weights, terms, statistics)

    async def _load(self, ranked: Sequence[tuple[float, Found]], terms: Sequence[Term], total: int) -> Page | None:
        if not ranked:
            return Page((), total)
        arguments = Arguments()
        rows = await self.db.fetch(
            "SELECT d.position, d.owner, d.fields FROM search_documents d WHERE d.position IN "
            f"({arguments.several([found.position for _, found in ranked])}) "
            # Once more: a document may have changed hands since it was found.
            f"AND {self.view.condition(arguments)}",
            *arguments.values,
        )
        fields = {row["position"]: json.loads(row["fields"]) for row in rows}
        if len(fields) < len(ranked):
            return None
        items = tuple(self._hit(points, found, fields[found.position], terms) for points, found in ranked)
        return Page(items, total, tuple({row["owner"] for row in rows if row["owner"]}))

    def _hit(self, points: float, found: Found, fields: dict[str, Any], terms: Sequence[Term]) -> Hit:
        words = terms[: len(self.asked.words)]
        marked = [
            highlight(
                name,
                text_of({**fields, "id": found.doc_id}.get(name)) if name in fields or name == "id" else "",
                lambda word: any(term.fits(word) for term in words),
                self.asked.phrases,
            )
            for name, _ in self.layout.text
        ]
        return Hit(found.doc_id, points, Json.of(fields), tuple(each for each in marked if each is not None))


def _rest(word: str) -> str:
    """With what the words begin that `word` stands for although it is finished, empty if there are none."""
    return word if may_continue(word) else ""


def _found(rows: Sequence[dict[str, Any]]) -> tuple[list[Found], int]:
    found = [
        Found(
            row["position"],
            row["doc_id"],
            row["words"],
            row["length"],
            int(row.get("matched", 0)),
            int(row.get("whole", 0)),
        )
        for row in rows
    ]
    return found, int(rows[0]["total"]) if rows else 0
