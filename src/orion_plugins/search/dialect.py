"""What differs between SQLite and PostgreSQL: full text, and the order of text.

Both are given words that are normalised already, each with its scope in front (``7f.ada``), so that one table serves
all generations and a query meets only words of its own scope. One more stands for the owner (``7f@...``): with it, what
a query costs depends on what its caller may see, and not on what others wrote. SQLite keeps them in an FTS5 table whose
content is `search_documents` itself, PostgreSQL in a generated `tsvector` with a GIN index. The tokenizer `ascii` takes
everything outside ASCII for part of a word: what a letter is, is decided in one place, `words.py`, for both.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable

from orion_core.ports.database import Database, DatabaseUnavailable

_WITH_SCOPE = "replace(words, ' ', ' ' || scope || '.') || ' ' || scope || '@'"
SQLITE_UP = (
    f"ALTER TABLE search_documents ADD COLUMN tokens TEXT GENERATED ALWAYS AS ({_WITH_SCOPE} || hex(owner)) VIRTUAL",
    """CREATE VIRTUAL TABLE search_text USING fts5(tokens, content='search_documents', content_rowid='position',
    detail='none', columnsize=0, tokenize="ascii tokenchars '.@'")""",
)
SQLITE_DOWN = ("DROP TABLE search_text", "ALTER TABLE search_documents DROP COLUMN tokens")
# Text that is compared and sorted by code point, as SQLite does it everywhere.
_BY_CODE_POINT = {
    "search_sources": ("doc_id",),
    "search_documents": ("doc_id",),
    "search_words": ("word", "stem"),
    "search_values": ("text",),
}
POSTGRES_UP = (
    *(
        f'ALTER TABLE {table} ALTER COLUMN {column} TYPE text COLLATE "C"'
        for table, columns in _BY_CODE_POINT.items()
        for column in columns
    ),
    f"""ALTER TABLE search_documents ADD COLUMN lexemes tsvector
    GENERATED ALWAYS AS (array_to_tsvector(string_to_array(btrim({_WITH_SCOPE} || md5(owner)), ' '))) STORED""",
    "CREATE INDEX search_documents_lexemes ON search_documents USING gin (lexemes)",
)
POSTGRES_DOWN = ("DROP INDEX search_documents_lexemes", "ALTER TABLE search_documents DROP COLUMN lexemes")


def is_sqlite(db: Database) -> bool:
    """Whether `db` is SQLite, where the full text is a table of its own."""
    return db.dialect.name == "sqlite"


def inside(db: Database, text: str, part: str) -> str:
    """An expression: where `part` is in `text`, 0 if it is not."""
    return f"instr({text}, {part})" if is_sqlite(db) else f"strpos({text}, {part})"


def matching(db: Database, argument: str) -> str:
    """A SELECT of the `position` of each document that fits the expression in `argument`; see `expression`."""
    if is_sqlite(db):
        return f"SELECT rowid AS position FROM search_text WHERE search_text MATCH {argument}"
    return f"SELECT position FROM search_documents WHERE lexemes @@ CAST(CAST({argument} AS text) AS tsquery)"


def expression(db: Database, scopes: Iterable[tuple[str, str]], words: Iterable[str], prefix: str = "") -> str:
    """One text that fits every document with at least one of `words`, or a word beginning with `prefix`.

    `scopes` are given with the person whose documents alone are wanted, empty for those of all.
    """
    sqlite = is_sqlite(db)
    quote, begins, either, both = ('"', " *", " OR ", " AND ") if sqlite else ("'", ":*", " | ", " & ")
    found = []
    for scope, person in scopes:
        wanted = [f"{quote}{scope}.{word}{quote}" for word in words]
        if prefix:
            wanted.append(f"{quote}{scope}.{prefix}{quote}{begins}")
        fits = either.join(wanted)
        if person:
            # As the columns above have it.
            digest = (
                person.encode().hex() if sqlite else hashlib.md5(person.encode(), usedforsecurity=False).hexdigest()
            )
            fits = f"({fits}){both}{quote}{scope}@{digest}{quote}"
        found.append(fits)
    return either.join(found)


async def put_words(db: Database, position: int) -> None:
    """Index the words of the document at `position`."""
    if is_sqlite(db):
        await db.fetch(
            "INSERT INTO search_text (rowid, tokens) SELECT position, tokens FROM search_documents WHERE position = $1",
            position,
        )


async def drop_words(db: Database, *positions: int) -> None:
    """Take exactly the words that are indexed for these documents out of the index; before the documents change."""
    if is_sqlite(db):
        holes = ", ".join(f"${number + 1}" for number in range(len(positions)))
        await db.fetch(
            "INSERT INTO search_text (search_text, rowid, tokens) "
            f"SELECT 'delete', position, tokens FROM search_documents WHERE position IN ({holes})",
            *positions,
        )


async def is_sound(db: Database) -> bool:
    """Whether the full text says the same as the documents. PostgreSQL keeps its own index in step."""
    if not is_sqlite(db):
        return True
    try:
        # Rank 1 compares with the documents too; SQLite's own integrity check does not look inside.
        await db.fetch("INSERT INTO search_text (search_text, rank) VALUES ('integrity-check', 1)")
    except DatabaseUnavailable as error:
        if is_damage(error):
            return False
        raise
    return True


def is_damage(error: DatabaseUnavailable) -> bool:
    """Whether `error` says that the full text is damaged, and not that the database is away."""
    code = getattr(error.__cause__, "sqlite_errorcode", 0)
    return code & 0xFF == sqlite3.SQLITE_CORRUPT if code else False


async def rewrite(db: Database) -> None:
    """Make the full text anew from the documents; queries see the old one until it is finished."""
    if is_sqlite(db):
        await db.fetch("INSERT INTO search_text (search_text) VALUES ('rebuild')")


async def shred(db: Database) -> None:
    """Let nothing of what was deleted stay in the files of the full text; takes as long as the index is large."""
    if is_sqlite(db):
        await db.fetch("INSERT INTO search_text (search_text) VALUES ('optimize')")
