"""Queries and filters that nobody should write, and rights that nobody should overcome."""

from __future__ import annotations

import asyncio
import random
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from search_kit import TABLES, empty, find, ids, put, searching, user, with_index

from orion_core.errors import Malformed

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
TEXTS = st.one_of(
    st.lists(st.sampled_from(SIGNS), max_size=14).map("".join),
    st.lists(st.sampled_from(SIGNS), max_size=14).map(" ".join),
    st.text(max_size=60),
)
PIECES_TEXT = "title pages at public eq ne co sw gt pr and or not ( ) 1 -1e999 true null ; -- ' NaN body"
PIECES = [*PIECES_TEXT.split(), '"a"', '"%"', "9" * 5000, '"', "\\", '"\\u0000"', '"\\ud800"']
FILTERS = st.one_of(st.lists(st.sampled_from(PIECES), max_size=9).map(" ".join), st.text(max_size=40))
DOCUMENTS = [
    {"id": "1", "title": "brass engine", "body": "made of brass", "pages": 3},
    {"id": "2", "title": "engine (NEAR) paper *", "body": "a_b % c"},
    {"id": "3", "title": "paper", "body": "灯泡", "tags": ["x"]},
]
WORDS = {"brass", "engine", "paper", "made", "of", "near", "a", "b", "c", "灯", "灯泡"}


def test_two_thousand_strange_queries_fail_only_as_malformed_and_widen_nothing(
    database_url: str, orion_runner: asyncio.Runner
) -> None:
    """S22: with a word the hits contain it; with signs only there are none."""

    async def opened() -> Any:
        entered = searching(database_url)
        service = await entered.__aenter__()
        await put(service, DOCUMENTS)
        return entered, service

    entered, service = orion_runner.run(opened())
    count = 2000 if database_url.startswith("sqlite") else 300

    @settings(max_examples=count, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(
        text=TEXTS, wanted=st.one_of(st.just(""), FILTERS), order=st.sampled_from(["", "title", "-pages", "body", "--"])
    )
    def check(text: str, wanted: str, order: str) -> None:
        async def ask() -> None:
            try:
                found = await find(service, text, filter=wanted, sort=order, mode="all")
            except Malformed:
                return
            assert found.total == len(found.items)
            if text.strip() and not any(sign.isalnum() for sign in text):
                assert found.total == 0
            if "zebra " in f"{text} " and "-" not in text and '"' not in text and text.isprintable() and not wanted:
                assert all("zebra" in str(hit.fields) for hit in found.items)

        orion_runner.run(ask())

    try:
        check()
    finally:
        orion_runner.run(entered.__aexit__(None, None, None))


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
