"""Encrypting anew with another key, while everything else goes on."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
from click.testing import Result
from typer.testing import CliRunner

from orion_core.adapters.sqlite import SqliteDatabase
from orion_core.cli import command_line
from orion_core.errors import StartRefused
from orion_core.ids import new_id
from orion_core.keyring import Keyring
from orion_core.plugin import Plugin, Sealed
from orion_core.ports.database import Database
from orion_core.resealing import BATCH, Resealing
from orion_core.sealing import Where, open_, seal
from orion_core.secret import Secret
from orion_core.testing import InProcess
from orion_core.testing.databases import postgres_database

OLD = Keyring.generate()
NEW = attrs.evolve(OLD, encryption=(*Keyring.generate().encryption, *OLD.encryption))
ONLY_NEW = attrs.evolve(NEW, encryption=NEW.encryption[:1])
OLD_KID, NEW_KID = OLD.encryption[0].kid, NEW.encryption[0].kid
COLUMN = Sealed("boxes", "secret")


@asynccontextmanager
async def boxes(kind: str, folder: Path) -> AsyncIterator[Database]:
    if kind == "sqlite":
        db: Database = await SqliteDatabase.open(folder / "boxes.db", synchronous="NORMAL")
        try:
            await db.fetch("CREATE TABLE boxes (id UUID PRIMARY KEY, secret TEXT)")
            yield db
        finally:
            await db.aclose()
        return
    from orion_core.adapters.postgres import PostgresDatabase

    async with postgres_database() as url:
        db = await PostgresDatabase.open(url)
        try:
            await db.fetch("CREATE TABLE boxes (id UUID PRIMARY KEY, secret TEXT)")
            yield db
        finally:
            await db.aclose()


async def put(db: Database, keyring: Keyring, text: str | None) -> Any:
    box = new_id()
    sealed = text and seal(keyring, Where("boxes", str(box), "secret"), text.encode())
    await db.fetch("INSERT INTO boxes (id, secret) VALUES ($1, $2)", box, sealed)
    return box


async def texts(db: Database, keyring: Keyring) -> list[str]:
    rows = await db.fetch("SELECT id, secret FROM boxes WHERE secret <> '' ORDER BY id")
    return [open_(keyring, Where("boxes", str(row["id"]), "secret"), row["secret"]).decode() for row in rows]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_everything_moves_to_the_first_key_and_means_the_same(kind: str, tmp_path: Path) -> None:
    """A60."""
    async with boxes(kind, tmp_path) as db:
        for number in range(BATCH + 20):
            await put(db, OLD if number % 2 else NEW, f"secret {number}")
        await put(db, OLD, None)
        await put(db, OLD, "")
        work = Resealing("shop", db, NEW, [COLUMN])
        half = (BATCH + 20) // 2
        assert await work.counts() == {"boxes.secret": {NEW_KID: half, OLD_KID: half}}

        done, again = await work.run(), await work.run()

        assert ((done.moved, done.failed), (again.moved, again.failed)) == ((half, 0), (0, 0))
        assert await work.counts() == {"boxes.secret": {NEW_KID: BATCH + 20, OLD_KID: 0}}
        assert await texts(db, ONLY_NEW) == [f"secret {number}" for number in range(BATCH + 20)]


async def test_what_does_not_open_stays_is_counted_and_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A60."""
    async with boxes("sqlite", tmp_path) as db:
        await put(db, Keyring.generate(), "from elsewhere")
        broken = await put(db, OLD, "changed")
        await put(db, OLD, "good")
        await db.fetch("UPDATE boxes SET secret = $1 || 'AAAA' WHERE id = $2", f"v1.{OLD_KID}.", broken)
        work = Resealing("shop", db, NEW, [COLUMN])
        with caplog.at_level(logging.WARNING, "orion.sealing"):
            done = await work.run()

        assert (done.moved, done.failed) == (1, 2)
        assert await work.counts() == {"boxes.secret": {NEW_KID: 1, OLD_KID: 1, "?": 1}}
        assert "boxes.secret" in caplog.text
        assert "changed or moved" in caplog.text


async def test_a_value_that_is_destroyed_meanwhile_does_not_come_back(tmp_path: Path) -> None:
    """A60: erasing a person destroys a key for good."""
    async with boxes("sqlite", tmp_path) as db:
        box, other = await put(db, OLD, "key of a person"), await put(db, OLD, "kept")

        @attrs.frozen
        class Meddling:
            """The same database, in which somebody is faster once."""

            real: Database

            def __getattr__(self, name: str) -> Any:
                return getattr(self.real, name)

            async def fetch(self, sql: str, *args: Any) -> list[dict[str, Any]]:
                found = await self.real.fetch(sql, *args)
                if sql.startswith("SELECT id AS row_key"):
                    await self.real.fetch("UPDATE boxes SET secret = '' WHERE id = $1", box)
                return found

        meddling: Any = Meddling(db)
        done = await Resealing("shop", meddling, NEW, [COLUMN]).run()

        assert done.moved == 1
        rows = await db.fetch("SELECT id FROM boxes WHERE secret <> ''")
        assert [row["id"] for row in rows] == [other]


def test_a_sealed_column_belongs_to_a_table_of_the_plugin() -> None:
    """A60."""
    with pytest.raises(ValueError, match="no table of it"):
        Plugin("shop", sealed=[COLUMN])


# Through a platform


def settings(keyring: Keyring) -> dict[str, Any]:
    return {"keyring": Secret(keyring.dump())}


async def test_secrets_of_every_service_survive_the_change_of_keys_by_themselves(tmp_path: Path) -> None:
    """A60: the old key can be thrown away afterwards, and not before."""
    folder = tmp_path / "orion"
    async with InProcess(folder, ["auth", "users", "webhooks"], settings=settings(OLD)) as orion:
        person, admin = await orion.sign_up(), await orion.admin()
        body = {"url": "https://example.org/hook", "event_types": ["user.registered"]}
        made = await orion.http.post("/api/v1/webhooks/endpoints", json=body, headers=admin.headers)
        assert made.status_code == 201, made.text
    with pytest.raises(StartRefused, match=r"no encryption key|lacks the encryption key"):
        await InProcess(folder, ["auth", "webhooks"], settings=settings(ONLY_NEW)).__aenter__()

    async with InProcess(folder, ["auth", "users", "webhooks"], settings=settings(NEW)) as orion:
        await orion.advance(timedelta(hours=2))
        await orion.settle()
        for name in ("auth", "webhooks"):
            work = orion.platform.resealing(name)
            assert work is not None
            counts = await work.counts()
            assert {column: kids[OLD_KID] for column, kids in counts.items() if kids[OLD_KID]} == {}
            assert sum(kids[NEW_KID] for kids in counts.values()) > 0

    async with InProcess(folder, ["auth", "users", "webhooks"], settings=settings(ONLY_NEW)) as orion:
        await orion.sign_in(person.email, person.password)
        mine = await orion.http.get("/api/v1/auth/audit", headers=(await orion.sign_in(person.email)).headers)
        assert {item["ip_address"] for item in mine.json()["items"]} != {""}
        work = orion.platform.resealing("webhooks")
        assert work is not None
        assert (await work.run()).failed == 0
        assert await work.counts() == {"webhook_secrets.sealed": {NEW_KID: 1}}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORION_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("ORION_SYNCHRONOUS", "NORMAL")
    return tmp_path


def run(*args: str) -> Result:
    return CliRunner().invoke(command_line(with_plugins=False), ["keyring", *args])


def test_the_command_line_counts_and_encrypts_anew(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A60."""
    monkeypatch.setenv("ORION_KEYRING", OLD.dump())

    async def fill() -> None:
        async with InProcess(data, ["auth", "webhooks"], settings=settings(OLD)) as orion:
            await orion.sign_up()

    asyncio.run(fill())
    monkeypatch.setenv("ORION_KEYRING", NEW.dump())
    before = json.loads(run("status", "--json").stdout)["auth"]
    done = run("reencrypt", "--json")
    after = json.loads(run("status", "--json").stdout)["auth"]

    assert before["auth_person_keys.sealed"] == {NEW_KID: 0, OLD_KID: 1}
    assert (done.exit_code, json.loads(done.stdout)["auth"]["failed"]) == (0, 0)
    assert after["auth_person_keys.sealed"] == {NEW_KID: 1, OLD_KID: 0}
    assert "auth_person_keys.sealed" in run("status").output
