"""``orion analytics ...``."""

from __future__ import annotations

import asyncio
import csv
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from orion_core.contracts.analytics import Analytics, Track, TrendQuestion
from orion_core.json_value import Json
from orion_core.platform import Platform
from orion_core.settings import Settings
from orion_plugins.analytics.plugin import orion_commands

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORION_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("ORION_SYNCHRONOUS", "NORMAL")

    async def fill() -> None:
        async with Platform.load("analytics", settings=Settings(data_dir=tmp_path), work=False) as platform:
            for number in range(3):
                event = Track("opened", str(number), timestamp=NOON, properties=Json.of({"cell": "=1+1"}))
                await platform.service(Analytics).track(event)
            await platform.databases["analytics"].fetch("UPDATE analytics_counts SET events = 7")

    asyncio.run(fill())
    return tmp_path


def run(*args: str) -> Result:
    cli = typer.Typer()
    orion_commands(cli)

    @cli.command()
    def other() -> None:
        """A second command, so that the group keeps its name."""

    return CliRunner().invoke(cli, ["analytics", *args])


def total(folder: Path) -> int:
    async def ask() -> int:
        async with Platform.load("analytics", settings=Settings(data_dir=folder), work=False) as platform:
            question = TrendQuestion("opened", datetime(2026, 3, 2, tzinfo=UTC), datetime(2026, 3, 3, tzinfo=UTC))
            return (await platform.service(Analytics).trend(question)).total

    return asyncio.run(ask())


def test_roll_ups_are_made_anew(folder: Path) -> None:
    """Y14."""
    assert total(folder) == 7

    done = run("rebuild", "--json")

    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["hours"] == 1
    assert json.loads(done.stdout)["start"] == "2026-03-02T12:00:00+00:00"
    assert total(folder) == 3


def test_a_range_can_be_named(folder: Path) -> None:
    """Y14."""
    done = run("rebuild", "--from", "2026-03-03", "--to", "2026-03-04")

    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("0 hours from 2026-03-03")
    assert total(folder) == 7


def test_raw_events_are_written(folder: Path) -> None:
    """Y28."""
    lines = run("export", "--name", "opened").stdout.splitlines()
    file = run("export", "--format", "csv", "--output", str(folder / "events.csv"))

    assert [json.loads(line)["properties"] for line in lines] == [{"cell": "=1+1"}] * 3
    assert file.exit_code == 0, file.output
    with (folder / "events.csv").open(newline="") as opened:
        assert {row["message_id"] for row in csv.DictReader(opened)} == {"0", "1", "2"}
    assert run("export", "--from", "2026-03-03").stdout == ""


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["rebuild", "--from", "yesterday"], 1, "from: must be a date"),
        (["rebuild", "--from", "2026-03-03", "--to", "2026-03-02"], 1, "must be after the start"),
        (["export", "--format", "xml"], 2, "use csv or ndjson"),
    ],
)
def test_what_is_wrong_is_said(folder: Path, args: list[str], code: int, said: str) -> None:
    refused = run(*args)

    assert refused.exit_code == code
    assert said in refused.output
