"""``orion analytics ...``."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from orion_core.cli.console import fail, problems_of, progress, put, say
from orion_core.contracts.analytics import Analytics, ExportQuestion
from orion_core.errors import Error, StartRefused
from orion_plugins.analytics import exports
from orion_plugins.analytics.intake import milliseconds
from orion_plugins.analytics.periods import read_moment

_PAGE = 1000
analytics = typer.Typer(name="analytics", help="Numbers about what happens on the platform.", no_args_is_help=True)
Since = Annotated[str, typer.Option("--from", help="A date (UTC) or a time (RFC 3339); the first event if left out.")]
Until = Annotated[str, typer.Option("--to", help="Where it ends, itself not included; the last event if left out.")]


@analytics.callback()
def _group() -> None:
    """Numbers about what happens on the platform."""


@analytics.command("rebuild", epilog="Example: orion analytics rebuild --from 2026-03-01 --to 2026-04-01")
def rebuild(
    since: Since = "",
    until: Until = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Make roll-ups anew from raw events, and wait until that is done.

    Works on the configured database, whether or not a host is running on it; questions and intake go on meanwhile.
    """
    done = _run(_rebuild(since, until))
    if as_json:
        put(done)
    else:
        say(f"{done['hours']} hours from {done['start']} to {done['end']} are rolled up anew")


@analytics.command("export", epilog="Example: orion analytics export --from 2026-03-01 --format ndjson > events.ndjson")
def export(
    since: Since = "",
    until: Until = "",
    name: Annotated[str, typer.Option(help="Only events of this name.")] = "",
    form: Annotated[str, typer.Option("--format", help="csv or ndjson.")] = "ndjson",
    output: Annotated[Path | None, typer.Option("--output", help="File to write; else it is printed.")] = None,
) -> None:
    """Write raw events, oldest first."""
    if form not in exports.MEDIA_TYPES:
        fail([f"--format is {form!r}: use csv or ndjson"])
        raise typer.Exit(2)
    if output is None:
        _run(_export(sys.stdout, since, until, name, form))
        return
    with output.open("w", encoding="utf-8", newline="") as file:
        _run(_export(file, since, until, name, form))


def _run(work: Any) -> Any:
    try:
        return asyncio.run(work)
    except (Error, StartRefused) as error:
        fail(problems_of(error) or [str(error)])
        raise typer.Exit(1) from error


def _moment(name: str, given: str) -> datetime | None:
    return read_moment(name, given, UTC) if given else None


async def _rebuild(since: str, until: str) -> dict[str, Any]:
    # Imported late: help and completion need no platform.
    from orion_core.cli.embed import serving
    from orion_plugins.analytics import questions, rebuilds
    from orion_plugins.analytics.service import AnalyticsService

    start, end = _moment("from", since), _moment("to", until)
    async with serving("analytics") as platform:
        service = platform.services["analytics"]
        assert isinstance(service, AnalyticsService)
        first = start or await _first(service, questions.raw_from)
        rebuild_id = await service.write_rebuild(first, end or service.clock.now() + timedelta(hours=24))
        await rebuilds.begin(service.db, rebuild_id)
        while await rebuilds.step(service.db, rebuild_id):
            at = await service.rebuilding(rebuild_id)
            progress(f"{at.done} of {at.hours} hours")
        await rebuilds.sweep(service.db)
        done = await service.rebuilding(rebuild_id)
    return {"id": str(done.id), "start": done.start.isoformat(), "end": done.end.isoformat(), "hours": done.hours}


async def _first(service: Any, raw_from: Any) -> datetime:
    from orion_plugins.analytics.intake import from_milliseconds
    from orion_plugins.analytics.rollups import HOUR_MS

    rows = await service.db.fetch("SELECT MIN(at_ms) AS at_ms FROM analytics_events WHERE counted")
    kept = -(-await raw_from(service.db) // HOUR_MS) * HOUR_MS
    first = rows[0]["at_ms"]
    return from_milliseconds(max(kept, milliseconds(service.clock.now()) if first is None else first))


async def _export(file: TextIO, since: str, until: str, name: str, form: str) -> None:
    from orion_core.cli.embed import serving

    question = ExportQuestion(start=_moment("from", since), end=_moment("to", until), name=name)
    async with serving("analytics") as platform:
        service = platform.service(Analytics)
        page = await service.raw(question, "", _PAGE)
        file.write(exports.header(form, exports.RAW_COLUMNS))
        while True:
            file.write(exports.lines(form, exports.RAW_COLUMNS, map(exports.raw_row, page.items)))
            if page.next_cursor is None:
                return
            page = await service.raw(question, page.next_cursor, _PAGE)
