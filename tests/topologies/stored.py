"""What a running platform has stored, wherever it is: every cell of every table, every file."""

from __future__ import annotations

from collections.abc import AsyncIterator

from orion_core.ports.database import Database
from orion_core.testing import InProcess, Orion
from orion_core.testing.processes import Processes


def databases(orion: Orion) -> dict[str, Database]:
    """The databases of all services of the platform."""
    if isinstance(orion, InProcess):
        return orion.platform.databases
    assert isinstance(orion, Processes)
    return orion._databases


async def tables(db: Database) -> list[str]:
    if db.dialect.name == "sqlite":
        rows = await db.fetch("SELECT name FROM sqlite_master WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%'")
    else:
        rows = await db.fetch("SELECT tablename AS name FROM pg_tables WHERE schemaname = current_schema()")
    return [row["name"] for row in rows]


async def cells(db: Database) -> AsyncIterator[tuple[str, str, bytes]]:
    """Every value of every table of a database, the shadows of indexes included, as table, column and bytes."""
    for table in await tables(db):
        for row in await db.fetch(f'SELECT * FROM "{table}"'):
            for column, value in row.items():
                yield table, column, value if isinstance(value, bytes) else str(value).encode()


async def places(orion: Orion, planted: list[str]) -> list[str]:
    """Where in which database one of the `planted` texts can be read, in any letter case."""
    wanted = [text.lower().encode() for text in planted]
    return sorted(
        {
            f"{service}: {table}.{column}"
            for service, db in databases(orion).items()
            async for table, column, value in cells(db)
            if any(text in value.lower() for text in wanted)
        }
    )


def files(orion: Orion, planted: list[str]) -> list[str]:
    """In which files of the platform one of the `planted` texts can be read, mail and logs excepted."""
    assert isinstance(orion, InProcess | Processes)
    wanted = [text.lower().encode() for text in planted]
    return sorted(
        file.name
        for file in orion.folder.rglob("*")
        if file.is_file() and "mail" not in file.parts and file.suffix != ".log"
        if any(text in file.read_bytes().lower() for text in wanted)
    )
