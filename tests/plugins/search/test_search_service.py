"""The service `search` on SQLite and on PostgreSQL: how documents come in, and what queries find."""

from __future__ import annotations

import asyncio
import functools
import itertools
import random
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from search_kit import (
    ADA,
    GRACE,
    NOTES,
    Filed,
    NoteRemoved,
    NoteTagged,
    NoteWritten,
    dump,
    empty,
    envelope,
    find,
    hear,
    ids,
    put,
    searching,
    user,
    with_index,
)

from orion_core.context import ANONYMOUS
from orion_core.contracts.users import UserErased
from orion_core.errors import Malformed, NotFound, Unauthenticated
from orion_plugins.search.dialect import is_sound
from orion_plugins.search.words import normalise, stem, tokens

QUIET = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


# How documents come in


async def test_an_event_becomes_a_document_that_is_found_as_a_whole(database_url: str) -> None:
    """S1, S3."""
    async with searching(database_url) as service:
        await hear(service, envelope(NoteWritten("n1", "Engines", "made of brass", str(ADA)), 1))

        for word in ("engines", "brass"):
            assert await ids(service, word) == ["n1"]
        hit = (await find(service, "brass")).items[0]
        assert hit.fields.plain() == {"title": "Engines", "body": "made of brass", "owner": str(ADA)}


async def test_a_half_written_document_is_rolled_back_as_a_whole(database_url: str) -> None:
    """S1, S3: document, words and counts are written in one transaction."""
    async with searching(database_url) as service:
        before = await dump(service)

        async def broken() -> None:
            async with service.db.transaction():
                await service.index(envelope(NoteWritten("n1", "Engines", "brass", ""), 1))
                raise RuntimeError("on purpose")

        with pytest.raises(RuntimeError, match="on purpose"):
            await broken()

        assert await dump(service) == before
        assert await is_sound(service.db)


async def test_an_older_version_never_replaces_a_newer_one(database_url: str) -> None:
    """S2."""
    async with searching(database_url) as service:
        await hear(
            service,
            envelope(NoteWritten("n1", "new", "", ""), 2),
            envelope(NoteWritten("n1", "old", "", ""), 1),
        )

        assert await ids(service, "new") == ["n1"]
        assert await ids(service, "old") == []


async def test_a_late_change_of_a_removed_document_brings_nothing_back(database_url: str) -> None:
    """S2: the tombstone remembers the version; what is written after it is a document again."""
    async with searching(database_url) as service:
        await hear(
            service,
            envelope(NoteWritten("n1", "first", "", ""), 1),
            envelope(NoteRemoved("n1"), 3),
            envelope(NoteWritten("n1", "second", "", ""), 2),
        )
        assert (await find(service)).total == 0

        await hear(service, envelope(NoteWritten("n1", "fourth", "", ""), 4))
        assert await ids(service, "fourth") == ["n1"]


NEWS = st.one_of(
    st.builds(
        NoteWritten, st.sampled_from("ab"), st.sampled_from(["ada one", "ada two", ""]), st.just("x"), st.just("")
    ),
    st.builds(NoteTagged, st.sampled_from("ab"), st.lists(st.sampled_from(["red", "blue"]), max_size=2).map(tuple)),
    st.builds(NoteRemoved, st.sampled_from("ab")),
    st.builds(Filed, st.sampled_from("ab"), st.sampled_from(["top", "low"])),
)


def test_any_order_and_repetition_of_events_ends_in_the_same_index(
    database_url: str, orion_runner: asyncio.Runner
) -> None:
    """S2, as a property: two services tell of the same documents, each in its own sequence."""

    @QUIET
    @given(news=st.lists(NEWS, max_size=12), seed=st.integers(0, 2**32))
    def check(news: list[Any], seed: int) -> None:
        counts: dict[tuple[str, str], int] = {}
        told = []
        for each in news:
            service = "shelves" if isinstance(each, Filed) else "notes"
            counts[service, each.note_id] = number = counts.get((service, each.note_id), 0) + 1
            told.append(envelope(each, number, service))
        mixed = told + random.Random(seed).choices(told, k=len(told) // 2) if told else []
        random.Random(seed).shuffle(mixed)

        async def both() -> None:
            async with searching(database_url) as service:
                ends = []
                for order in (told, mixed):
                    await empty(service)
                    await hear(service, *order)
                    ends.append(await dump(service))
                    assert await is_sound(service.db)
            assert ends[0] == ends[1]

        orion_runner.run(both())

    check()


async def test_a_change_of_what_is_no_text_writes_no_words(database_url: str) -> None:
    """The rows of the full text stay as they are (S6's beginning)."""
    async with searching(database_url) as service:
        await hear(service, envelope(NoteWritten("n1", "Engines", "", ""), 1))
        before = (await dump(service))["f"]
        await hear(service, envelope(NoteTagged("n1", ("red",)), 2))

        after = (await dump(service))["f"]
        assert after["words"] == before["words"]
        assert await ids(service, "engines", filter='tags eq "RED"') == ["n1"]


async def test_words_that_are_gone_leave_the_vocabulary(database_url: str) -> None:
    """What no document says any more is nowhere."""
    async with searching(database_url) as service:
        await put(service, [{"id": "1", "title": "walrus"}, {"id": "2", "title": "seal"}])
        await hear(service, envelope(NoteRemoved("1"), 1))
        await put(service, [{"id": "2", "title": "otter", "version": 2}])

        assert [word for kind, word, _, _ in (await dump(service))["f"]["words"] if kind == "w"] == ["otter"]


# Ranking and matching


async def test_hits_with_all_words_come_first_and_others_follow(database_url: str) -> None:
    """S12."""
    async with searching(database_url) as service:
        await put(
            service,
            [
                {
                    "id": "both",
                    "title": "",
                    "body": "a long text that has brass somewhere and an engine somewhere else",
                },
                {"id": "one", "title": "brass brass brass"},
                {"id": "none", "title": "paper"},
            ],
        )
        assert await ids(service, "brass engine ") == ["both", "one"]
        assert await ids(service, "brass engine ", mode="all") == ["both"]
        assert (await find(service, "brass engine ", limit=1)).total == 2


async def test_a_title_counts_five_times_a_body(database_url: str) -> None:
    """S10."""
    async with searching(database_url) as service:
        await put(
            service, [{"id": "a", "body": "engine x"}, {"id": "b", "title": "engine x"}, {"id": "c", "body": "y"}]
        )
        assert await ids(service, "engine ") == ["b", "a"]


async def test_the_last_word_also_matches_as_a_prefix_below_whole_words(database_url: str) -> None:
    """S15."""
    async with searching(database_url) as service:
        await put(
            service,
            [
                {"id": "longer", "title": "adamant adamant"},
                {"id": "whole", "body": "one two three four five six seven eight nine ten ada"},
            ],
        )
        assert await ids(service, "ada") == ["whole", "longer"]
        assert await ids(service, "ada ") == ["whole"]
        assert await ids(service, '"ada"') == ["whole"]
        assert await ids(service, "adama") == ["longer"]
        assert await ids(service, "ada one") == ["whole"]


async def test_other_forms_of_a_word_are_found_too(database_url: str) -> None:
    """S10: stems are the service's own, so that both databases agree."""
    async with searching(database_url) as service:
        await put(service, [{"id": "1", "title": "running engines"}])
        assert await ids(service, "engine run ") == ["1"]
        assert await ids(service, '"engine"') == []


async def test_a_phrase_stands_side_by_side_in_one_field(database_url: str) -> None:
    """S16."""
    async with searching(database_url) as service:
        await put(
            service,
            [
                {"id": "yes", "title": "the analytical engine"},
                {"id": "apart", "title": "analytical old engine"},
                {"id": "fields", "title": "analytical", "body": "engine"},
                {"id": "turned", "title": "engine analytical"},
            ],
        )
        assert await ids(service, '"Analytical Engine"') == ["yes"]
        assert await ids(service, 'the "analytical engine" is missing') == ["yes"]
        assert sorted(await ids(service, 'engine -"analytical engine"')) == ["apart", "fields", "turned"]


def _says(fields: list[list[str]], phrase: Sequence[str]) -> bool:
    count = len(phrase)
    return any(field[at : at + count] == [*phrase] for field in fields for at in range(len(field) - count + 1))


def test_hits_are_those_that_counting_finds(database_url: str, orion_runner: asyncio.Runner) -> None:
    """S12, S13, S15, S16, as a property: for every query the hits and their number are what reading all documents says;
    a phrase stands side by side, an excluded word is nowhere, and who has more of the words comes first."""
    vocabulary = ["brass", "brassy", "engine", "engines", "steam", "灯泡", "résumé"]
    rng = random.Random(16)
    documents = {
        f"{number:02}": {name: " ".join(rng.choices(vocabulary, k=rng.randrange(4))) for name in ("title", "body")}
        for number in range(40)
    }
    parts = [
        *vocabulary,
        "br",
        "en",
        '"brass engine"',
        '"steam steam"',
        "-steam",
        "-engine",
        '-"brass steam"',
        "nothing",
    ]

    async def opened() -> Any:
        entered = searching(database_url)
        service = await entered.__aenter__()
        await put(service, [{"id": number, **document} for number, document in documents.items()])
        return entered, service

    entered, service = orion_runner.run(opened())

    @QUIET
    @given(
        chosen=st.lists(st.sampled_from(parts), min_size=1, max_size=4),
        finished=st.booleans(),
        mode=st.sampled_from(["any", "all"]),
    )
    def check(chosen: list[str], finished: bool, mode: str) -> None:
        matched = {}
        words = list(dict.fromkeys(normalise(part) for part in chosen if part[0] not in '-"'))
        last = chosen[-1] if not finished and chosen[-1][0] not in '-"' else ""
        for number, document in documents.items():
            fields = [[token.word for token in tokens(text)] for text in document.values()]
            every = {word for field in fields for word in field}
            stems = {stem(word) for word in every}
            count = sum(
                stem(word) in stems or (word == normalise(last) and any(other.startswith(word) for other in every))
                for word in words
            )
            wanted = [part.strip('"').split() for part in chosen if part[0] == '"']
            unwanted = [part[1:] for part in chosen if part[0] == "-"]
            if (
                (count == len(words) or (count and mode == "any"))
                and all(_says(fields, phrase) for phrase in wanted)
                and not any(
                    _says(fields, part.strip('"').split()) if part[0] == '"' else stem(part) in stems
                    for part in unwanted
                )
            ):
                matched[number] = count

        async def ask() -> None:
            found = await find(service, " ".join(chosen) + " " * finished, mode=mode)
            assert sorted(hit.id for hit in found.items) == sorted(matched)
            assert found.total == len(matched)
            counts = [matched[hit.id] for hit in found.items]
            assert counts == sorted(counts, reverse=True)

        orion_runner.run(ask())

    try:
        check()
    finally:
        orion_runner.run(entered.__aexit__(None, None, None))


async def test_an_excluded_word_occurs_in_no_hit(database_url: str) -> None:
    """S16."""
    async with searching(database_url) as service:
        await put(service, [{"id": "1", "title": "brass engine"}, {"id": "2", "title": "brass"}])
        assert await ids(service, "brass -engines") == ["2"]
        assert await ids(service, "-engine") == ["2"]
        assert await ids(service, "brass-engine ") == ["1", "2"]


async def test_one_character_of_a_script_in_pairs_is_found_and_excluded_wherever_it_stands(database_url: str) -> None:
    """S16, S17: a document has it as the beginning of a pair, or alone at the end of a run."""
    async with searching(database_url) as service:
        for number, title in enumerate(["灯泡", "电灯", "灯", "other", "abc 灯泡"], 1):
            await put(service, [{"id": str(number), "title": title}])
        for text in ("灯", "灯 ", '"灯"'):
            assert sorted(await ids(service, text)) == ["1", "2", "3", "5"], text
        for text in ("-灯", '-"灯"', "other -灯"):
            assert await ids(service, text) == ["4"], text
        assert await ids(service, '"abc 灯"') == ["5"]
        assert sorted(await ids(service, '-"abc 灯"')) == ["1", "2", "3", "4"]
        marked = (await find(service, '"abc 灯"')).items[0].highlights[0]
        assert marked.html == "<mark>abc 灯泡</mark>"


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("Résumé", "resume"),
        ("\uff26ULL", "full"),
        ("Straße", "STRASSE"),
        ("电灯泡", "灯泡"),
        ("灯泡", "灯"),
        ("ガギグ", "ｶﾞｷﾞ"),
        ("한국어", "국어"),
    ],
)
async def test_one_rule_for_letters_in_documents_and_queries(database_url: str, text: str, asked: str) -> None:
    """S17."""
    async with searching(database_url) as service:
        await put(service, [{"id": "1", "title": text}, {"id": "2", "title": "other"}])
        assert await ids(service, f"{asked} ") == ["1"]
        if len(asked) > 1:
            assert await ids(service, f'"{asked}"') == ["1"]


async def test_totals_are_exact_and_pages_disjoint(database_url: str) -> None:
    """S13."""
    async with searching(database_url) as service:
        await put(service, [{"id": f"{n:03}", "title": "engine" if n % 3 else "engine brass"} for n in range(120)])
        for text in ("engine brass", ""):
            whole = (await find(service, text, limit=200)).items
            seen: list[str] = []
            for offset in range(0, 130, 7):
                page = await find(service, text, limit=7, offset=offset)
                assert page.total == 120
                seen += [hit.id for hit in page.items]
            assert seen == [hit.id for hit in whole]
            assert (await find(service, text, limit=0)).total == 120
            page = await find(service, text, limit=50)
            followed = [hit.id for hit in page.items]
            while page.next_cursor:
                page = await find(service, text, limit=50, cursor=page.next_cursor)
                followed += [hit.id for hit in page.items]
            assert followed == seen


async def test_what_is_too_deep_is_refused_and_never_cut(database_url: str) -> None:
    """S13."""
    async with searching(database_url) as service:
        for offset, limit in ((1000, 1), (801, 200)):
            with pytest.raises(Malformed, match="only the first 1000"):
                await find(service, "engine", offset=offset, limit=limit)
        first = await find(service, "engine")
        assert first.next_cursor is None
        with pytest.raises(Malformed, match="cursor"):
            await find(service, "engine", cursor="MTAuYQ==")


async def test_a_cursor_of_another_query_is_refused(database_url: str) -> None:
    """S13: it would leave out the wrong hits."""
    async with searching(database_url) as service:
        await put(service, [{"id": str(n), "title": "engine"} for n in range(3)])
        cursor = (await find(service, "engine", limit=1)).next_cursor
        assert cursor
        with pytest.raises(Malformed, match="cursor"):
            await find(service, "brass", limit=1, cursor=cursor)
        with pytest.raises(Malformed, match="not both"):
            await find(service, "engine", limit=1, offset=1, cursor=cursor)


# Filters and order


VALUES: list[dict[str, Any]] = [
    {
        "id": "a",
        "title": "Älpha",
        "pages": 1,
        "price": 1.5,
        "at": "2026-01-01T00:00:00Z",
        "public": True,
        "tags": ["x"],
    },
    {"id": "b", "title": "beta_%", "pages": 20, "price": -2, "at": "2026-01-01T02:00:00+01:00", "public": False},
    {"id": "c", "title": "BETA two", "pages": 3, "at": "2027-01-01T00:00:00Z", "tags": ["x", "Y"]},
    {"id": "d"},
]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('title eq "älpha"', "a"),
        ('title eq "A\u0308LPHA"', "a"),
        ('title sw "BETA"', "bc"),
        ('title ew "%"', "b"),
        ('title co "_"', "b"),
        ('title co "ta"', "bc"),
        ('title gt "beta_"', "ab"),
        ("pages gt 1 and pages le 20", "bc"),
        ("price lt 0", "b"),
        ("price pr", "ab"),
        ("public eq true", "a"),
        ("public ne true", "bcd"),
        ('tags eq "y"', "c"),
        ('tags ne "y"', "abd"),
        ('at eq "2026-01-01T01:00:00Z"', "b"),
        ('at ge "2026-01-01T01:00:00Z"', "bc"),
        ('not (title pr) or (pages eq 1 and tags eq "X")', "ad"),
    ],
)
async def test_a_filter_lets_through_what_it_says(database_url: str, text: str, wanted: str) -> None:
    """S19."""
    async with searching(database_url) as service:
        await put(service, VALUES)
        assert await ids(service, filter=text) == list(wanted)


@pytest.mark.parametrize(
    ("order", "wanted"),
    [("pages", "acbd"), ("-pages", "bcad"), ("title", "cbad"), ("-at", "cbad"), ("public,-pages", "bacd")],
)
async def test_sorting_is_by_declared_fields_and_missing_values_come_last(
    database_url: str, order: str, wanted: str
) -> None:
    """S19."""
    async with searching(database_url) as service:
        await put(service, VALUES)
        assert await ids(service, sort=order) == list(wanted)


@pytest.mark.parametrize("options", [{"filter": 'body eq "x"'}, {"filter": 'pages eq "x"'}, {"sort": "body"}])
async def test_what_is_not_declared_or_of_another_type_is_refused_by_name(
    database_url: str, options: dict[str, str]
) -> None:
    """S19."""
    async with searching(database_url) as service:
        with pytest.raises(Malformed, match=r"body|pages"):
            await find(service, **options)


# Who sees what


async def test_people_find_their_own_and_whoever_has_the_permission_all(database_url: str) -> None:
    """S21."""
    async with searching(database_url) as service:
        await put(
            service,
            [
                {"id": "1", "title": "engine", "owner": str(ADA)},
                {"id": "2", "title": "engine", "owner": str(GRACE)},
                {"id": "3", "title": "engine"},
            ],
        )
        assert await ids(service, "engine", user(ADA)) == ["1"]
        assert await ids(service, "engine", user(ADA, "notes:read")) == ["1", "2", "3"]
        assert (await find(service, "", user(GRACE))).total == 1
        with pytest.raises(Unauthenticated):
            await find(service, "engine", ANONYMOUS)
        with pytest.raises(NotFound):
            await find(service, index="nothing")


async def test_others_see_and_search_only_the_fields_that_are_open_to_all(database_url: str) -> None:
    """S21: neither a word nor a filter tells of the rest."""
    async with searching(database_url, with_index("notes", open_to_all=["title"])) as service:
        await put(service, [{"id": "1", "title": "engine", "body": "secret", "pages": 7, "owner": str(ADA)}])

        theirs = (await find(service, "engine", user(GRACE))).items[0]
        assert theirs.fields.plain() == {"title": "engine"}
        assert await ids(service, "secret", user(GRACE)) == []
        assert await ids(service, "", user(GRACE), filter="pages eq 7") == []
        mine = (await find(service, "secret", user(ADA))).items[0]
        assert mine.fields.plain()["body"] == "secret"
        assert (await find(service, "", user(ADA))).total == 1


async def test_erasing_a_person_takes_documents_words_and_what_still_comes(database_url: str) -> None:
    """S31."""
    async with searching(database_url) as service:
        await put(service, [{"id": "1", "title": "walrus", "owner": str(ADA)}, {"id": "2", "title": "seal"}])
        await hear(service, envelope(NoteWritten("3", "walrus", "", str(ADA)), 1))

        async with service.db.transaction():
            await service.forget(UserErased(ADA, datetime.now(UTC)))
        await hear(service, envelope(NoteWritten("3", "walrus", "", str(ADA)), 2))
        await hear(service, envelope(NoteWritten("4", "walrus", "", str(ADA)), 1))

        assert await ids(service, "walrus") == []
        assert [row[1] for row in (await dump(service))["f"]["words"] if row[0] == "w"] == ["seal"]
        for table in ("sources", "documents", "words", "values", "tasks", "task_parts"):
            assert "walrus" not in str(await service.db.fetch(f"SELECT * FROM search_{table}"))
        assert await is_sound(service.db)


async def test_a_person_is_erased_from_an_index_that_nobody_declares_any_more(tmp_path: Path) -> None:
    """S31: the plugin is gone, its documents are not."""
    url = f"sqlite:///{tmp_path}/{{service}}.db"
    async with searching(url) as service:
        await put(service, [{"id": "1", "title": "walrus", "owner": str(ADA)}])
    async with searching(url, with_index("others")) as service:
        async with service.db.transaction():
            await service.forget(UserErased(ADA, datetime.now(UTC)))

        for table in ("sources", "documents", "words", "values"):
            assert "walrus" not in str(await service.db.fetch(f"SELECT * FROM search_{table}"))


PERSONAL = with_index(
    "notes",
    documents={Filed: NOTES.documents[Filed], NoteWritten: NOTES.documents[NoteWritten]},
    filterable={},
    owner="id",
)


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
async def test_nothing_is_left_of_a_person_in_whichever_order_the_news_come(
    tmp_path: Path, order: tuple[int, ...]
) -> None:
    """S31: the removal by one service must not hide from the erasure what another one said."""
    async with searching(f"sqlite:///{tmp_path}/{{service}}.db", PERSONAL) as service:

        async def erase() -> None:
            async with service.db.transaction():
                await service.forget(UserErased(ADA, datetime.now(UTC)))

        steps = [
            lambda: hear(service, envelope(Filed(str(ADA), "walrus"), 1, "shelves")),
            lambda: hear(service, envelope(NoteWritten(str(ADA), "walrus", "walrus", ""), 1)),
            lambda: hear(service, envelope(NoteRemoved(str(ADA)), 2)),
            erase,
        ]
        for step in order:
            await steps[step]()

        for table in ("sources", "documents", "words", "values"):
            assert "walrus" not in str(await service.db.fetch(f"SELECT * FROM search_{table}"))
        assert (await find(service)).total == 0


class Meanwhile:
    """The database, and something that happens before one of the statements of a query."""

    def __init__(self, db: Any, at: int, happens: Any) -> None:
        self._db = db
        self._left = at
        self._happens = happens

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)

    async def fetch(self, sql: str, *args: Any) -> Any:
        self._left -= 1
        if self._left == 0:
            await self._happens()
        return await self._db.fetch(sql, *args)


@pytest.mark.parametrize("order", ["", "title"])
async def test_a_document_that_changes_hands_during_a_query_is_not_shown(database_url: str, order: str) -> None:
    """S21: at whichever statement it happens."""
    async with searching(database_url) as service:
        for number in range(1, 12):
            written = envelope(NoteWritten(str(number), "engine", "mine", str(ADA)), 1)
            given = envelope(NoteWritten(str(number), "engine", "secret", str(GRACE)), 2)
            await hear(service, written)

            db = Meanwhile(service.db, number, functools.partial(hear, service, given))
            asked = attrs.evolve(service, db=db)
            found = await find(asked, "engine", user(ADA), sort=order)

            assert "secret" not in str(found), number
            assert found.total == len(found.items), number
            await hear(service, given)


# Highlights


async def test_highlights_are_escaped_and_offsets_are_those_of_the_text(database_url: str) -> None:
    """S23."""
    async with searching(database_url) as service:
        title = "😀 <script>alert('Engine')</script> résumé & engines"
        await put(service, [{"id": "1", "title": title}])
        found = (await find(service, "engine resume")).items[0].highlights[0]

        assert "<script" not in found.html
        assert "&lt;script&gt;alert(&#x27;<mark>Engine</mark>" in found.html
        assert [title[mark.start : mark.end] for mark in found.offsets] == ["Engine", "résumé", "engines"]


async def test_declarations_that_cannot_be_kept_are_refused_at_the_start(database_url: str) -> None:
    """A field of a type that nothing compares is found before the first document."""
    with pytest.raises(ValueError, match="filters title"):
        async with searching(database_url, with_index("notes", NOTES, filterable={"title": bytes})):
            pass
