"""The same documents and queries rank alike on SQLite and on PostgreSQL."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from search_kit import ADA, NoteRemoved, dump, envelope, find, hear, put, searching, user, with_index

from orion_core.testing.databases import postgres_database

WORDS = "engine engines brass steam paper analytical note notes ada adamant grüße 灯泡 电灯泡 42 x_y İstanbul ñandú"


def world(rng: random.Random) -> list[dict[str, Any]]:
    return [
        {
            "id": rng.choice(["a", "B", "ä", "~", "Z"]) + str(number),
            "title": " ".join(rng.choices(WORDS.split(), k=rng.randrange(1, 5))),
            "body": " ".join(rng.choices(WORDS.split(), k=rng.randrange(30))),
            "tags": rng.sample(WORDS.split(), k=rng.randrange(3)),
            "pages": rng.randrange(5),
            "price": rng.choice([None, 1.5, -2.25]),
            "owner": str(ADA) if rng.random() < 0.3 else "",
        }
        for number in range(1300)
    ]


def questions(rng: random.Random) -> list[dict[str, Any]]:
    asked: list[dict[str, Any]] = []
    for _ in range(60):
        words = rng.choices(
            [*WORDS.split(), '"analytical note"', "-paper", "en", "gr", '-"steam brass"', "灯"], k=rng.randrange(4)
        )
        asked.append(
            {
                "text": " ".join(words) + rng.choice(["", " "]),
                "filter": rng.choice(
                    ["", "", "pages ge 2", 'tags co "N" or not price pr', 'title sw "G"', 'title lt "n"']
                ),
                "sort": rng.choice(["", "", "", "title", "-price,pages", "-tags"]),
                "mode": rng.choice(["any", "any", "all"]),
                "limit": 40,
                "offset": rng.choice([0, 0, 30]),
            }
        )
    return asked


async def answers(url: str) -> Any:
    rng = random.Random(11)
    documents, asked = world(rng), questions(rng)
    async with searching(url, with_index("notes", open_to_all=["title", "tags"])) as service:
        await put(service, documents)
        await hear(service, *(envelope(NoteRemoved(document["id"]), 1) for document in documents[:50]))
        found = []
        for question in asked:
            for who in (user(ADA, "notes:read"), user(ADA)):
                text = question["text"]
                page = await find(
                    service, text, who, **{name: item for name, item in question.items() if name != "text"}
                )
                found.append((question, page.total, [(hit.id, hit.score, hit.highlights) for hit in page.items]))
        return found, await dump(service)


async def test_both_databases_give_the_same_hits_scores_totals_and_counts(tmp_path: Path) -> None:
    """S10, S11, S19."""
    one = await answers(f"sqlite:///{tmp_path}/{{service}}.db")
    async with postgres_database() as url:
        other = await answers(url)

    for mine, theirs in zip(one[0], other[0], strict=True):
        assert mine == theirs
    assert one[1] == other[1]
    assert sum(total for _, total, _ in one[0]) > 1000
