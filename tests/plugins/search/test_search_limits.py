"""Queries and filters that nobody should write, and rights that nobody should overcome."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest
from search_kit import TABLES, empty, find, ids, put, searching, user, with_index

from orion_core.contracts.search import Hit
from orion_core.errors import Malformed
from orion_plugins.search.words import stem, tokens

SIGNS = ['"', "*", "NEAR(", "title:", "^", "-", "--", "&", "|", "!", ":*", "<->", "(", ")", "'", "\\", "%", "_", "\x00"]
SIGNS += [
    "\ud800",
    "AND",
    "OR",
    "NOT",
    "engine",
    "brass",
    "zebra",
    " ",
    "  ",
    "灯",
    "x" * 900,
    ".",
    "1f.engine",
    "|",
    "{",
    "+",
]
PIECES_TEXT = "title pages at public eq ne co sw gt pr and or not ( ) 1 -1e999 true null ; -- ' NaN body"
PIECES = [*PIECES_TEXT.split(), '"a"', '"%"', "9" * 5000, '"', "\\", '"\\u0000"', '"\\ud800"']
DOCUMENTS = [
    {"id": "1", "title": "brass engine", "body": "made of brass", "pages": 3},
    {"id": "2", "title": "engine (NEAR) paper *", "body": "a_b % c"},
    {"id": "3", "title": "paper", "body": "灯泡", "tags": ["x"]},
]


def strange(rng: random.Random, pieces: Sequence[str], most: int) -> str:
    """A text of pieces, or of any characters at all."""
    if rng.random() < 0.3:
        return "".join(
            chr(rng.choice([rng.randrange(128), rng.randrange(0x3000), rng.randrange(0x110000)]))
            for _ in range(rng.randrange(30))
        )
    return rng.choice(["", " "]).join(rng.choices(pieces, k=rng.randrange(most)))


def says(hit: Hit, word: str) -> bool:
    """Whether a word of the document has the stem of `word`, or begins with it."""
    words = {token.word for text in hit.fields.plain().values() for token in tokens(str(text))}
    return any(stem(other) == stem(word) or other.startswith(word) for other in words)


async def test_ten_thousand_strange_queries_fail_only_as_malformed_and_widen_nothing(database_url: str) -> None:
    """S22: hits have every word that is asked for; signs without words find nothing."""
    rng = random.Random(22)
    async with searching(database_url) as service:
        await put(service, DOCUMENTS)
        for _ in range(10_000 if database_url.startswith("sqlite") else 1000):
            text = strange(rng, SIGNS, 14)
            wanted = strange(rng, PIECES, 9) if rng.random() < 0.4 else ""
            order = rng.choice(["", "title", "-pages", "body", "--"])
            try:
                found = await find(service, text, filter=wanted, sort=order, mode="all")
            except Malformed:
                continue
            said = (text, wanted, order)
            assert found.total == len(found.items), said
            words = [token.word for token in tokens(text) if not token.ends]
            if text.strip() and not words:
                assert not found.total, said
            if "-" not in text:
                assert all(says(hit, word) for hit in found.items for word in words), said


@pytest.mark.parametrize("text", ["x" * 1025, "a " * 33, '"' + "a " * 33 + '"', "-a " * 33])
async def test_a_query_that_is_too_long_is_refused(database_url: str, text: str) -> None:
    """S22."""
    async with searching(database_url) as service:
        with pytest.raises(Malformed, match="q: must have at most"):
            await find(service, text)


async def test_a_very_long_word_is_found_by_itself_only(database_url: str) -> None:
    """S22: words of 10,000 characters are as good as any."""
    async with searching(database_url) as service:
        await put(service, [{"id": "1", "title": "x" * 10_000}, {"id": "2", "title": "x" * 1000}])
        assert await ids(service, "x" * 1000 + " ") == ["2"]


class Bound:
    """One of two services in this process: the tables are bound to the database of the one that is asked."""

    def __init__(self, service: Any) -> None:
        self.service = service

    def __getattr__(self, name: str) -> Any:
        for table in TABLES:
            table._meta.db = self.service.db.engine  # type: ignore[attr-defined]  # they are Piccolo's
        return getattr(self.service, name)


def test_nobody_ever_sees_what_is_not_theirs(tmp_path: Any, orion_runner: asyncio.Runner) -> None:
    """S21: 500 random graphs of owners, open fields and permissions; hits, total and scores are those of a world in
    which the hidden documents do not exist."""
    words = ["engine", "brass", "paper", "steam"]
    people = [UUID(int=number) for number in range(1, 5)]

    async def one(seed: int, whole: Any, visible: Any, *, is_open: bool) -> None:
        rng = random.Random(seed)
        documents = [
            {
                "id": str(number),
                "title": " ".join(rng.choices(words, k=2)),
                "body": " ".join(rng.choices([*words, "secret"], k=3)),
                "pages": rng.randrange(3),
                "owner": str(rng.choice(people)) if rng.random() < 0.8 else "",
            }
            for number in range(6)
        ]
        me = rng.choice(people)
        mine = [document for document in documents if document["owner"] == str(me)]
        index = f"world{seed}"
        # The visible world: one's own as it is; of the others, where titles are open, the title alone.
        shown = {document["id"]: document for document in mine}
        if is_open:
            for document in documents:
                shown.setdefault(document["id"], {name: document[name] for name in ("id", "title", "owner")})
        await put(whole, documents, index="notes")
        await put(visible, shown.values(), index="notes")
        text = " ".join(rng.choices([*words, "secret", "eng", "-paper", '"brass engine"'], k=rng.randrange(3)))
        wanted = rng.choice(["", "", "pages ge 1", "not pages pr", 'title co "s"'])
        order = rng.choice(["", "", "-pages"])
        for limit in (2, 50, 0):
            options = {"filter": wanted, "sort": order, "limit": limit}
            seen = await find(whole, text, user(me), **options)
            expected = await find(visible, text, user(me), **options)
            assert seen.total == expected.total, (index, text, wanted)
            assert [(hit.id, hit.score, hit.fields.plain()) for hit in seen.items] == [
                (hit.id, hit.score, without_owner(hit.fields.plain(), hit.id in {d["id"] for d in mine}))
                for hit in expected.items
            ]

    def without_owner(fields: dict[str, Any], own: bool) -> dict[str, Any]:
        return fields if own else {name: item for name, item in fields.items() if name == "title"}

    async def all_of_them() -> None:
        for is_open in (False, True):
            declared = with_index("notes", open_to_all=["title"] if is_open else [])
            folder = tmp_path / str(is_open)
            async with (
                searching(f"sqlite:///{folder}/a/{{service}}.db", declared) as whole,
                searching(f"sqlite:///{folder}/b/{{service}}.db", declared) as visible,
            ):
                for seed in range(250):
                    for world in (Bound(whole), Bound(visible)):
                        await empty(world)
                    await one(seed, Bound(whole), Bound(visible), is_open=is_open)

    orion_runner.run(all_of_them())
