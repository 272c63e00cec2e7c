"""``orion search ...``."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from orion_core.contracts.search import Query, Search
from orion_core.platform import Platform
from orion_core.settings import Settings
from orion_core.testing import InProcess
from orion_plugins.search.plugin import orion_commands

SERVICES = ("auth", "users", "search")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORION_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("ORION_SYNCHRONOUS", "NORMAL")
    return tmp_path


def run(*args: str) -> Result:
    cli = typer.Typer()
    orion_commands(cli)

    @cli.command()
    def other() -> None:
        """A second command, so that the group keeps its name."""

    return CliRunner().invoke(cli, ["search", *args])


def register(folder: Path) -> None:
    async def do() -> None:
        async with InProcess(folder, SERVICES) as orion:
            await orion.sign_up(name="Ada Lovelace")
            await orion.settle()

    asyncio.run(do())


def found(folder: Path, text: str) -> int:
    async def ask() -> int:
        async with Platform.load("search", settings=Settings(data_dir=folder), work=False) as platform:
            return (await platform.service(Search).find(Query("users", text))).total

    return asyncio.run(ask())


def test_a_lost_index_is_filled_again_by_command(folder: Path) -> None:
    """S5: with no host running, from the database of its owner."""
    register(folder)
    (folder / "search.db").unlink()
    assert found(folder, "lovelace") == 0

    done = run("reindex", "users", "--json")

    assert done.exit_code == 0, done.output
    assert [(task["index"], task["status"], task["done"]) for task in json.loads(done.stdout)] == [
        ("users", "succeeded", 1)
    ]
    assert found(folder, "lovelace") == 1
    assert "users: succeeded, 1 documents" in run("reindex").output


def test_the_status_of_all_indexes_is_printed(folder: Path) -> None:
    """S26's beginning."""
    register(folder)

    status = json.loads(run("status", "--json").stdout)

    assert [(item["name"], item["service"], item["documents"]) for item in status] == [("users", "users", 1)]
    assert "users" in run("status").output


def test_an_unknown_index_is_said_to_be_one(folder: Path) -> None:
    """The message names those there are."""
    failed = run("reindex", "nothing")

    assert failed.exit_code == 1
    assert "there is no index of this name" in failed.stderr
