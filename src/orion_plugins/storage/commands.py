"""``orion storage``: look after the files."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from orion_core import codec
from orion_core.cli.console import fail, problems_of, put, say
from orion_core.contracts.storage import Bucket, Collected, Storage
from orion_core.errors import Error, StartRefused

storage = typer.Typer(name="storage", help="Files.", no_args_is_help=True)
_PAGE = 200


@storage.callback()
def _group() -> None:
    """Files."""


@storage.command("gc", epilog="Example: orion storage gc --dry-run")
def collect(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count, and remove nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Remove what has expired, and bytes that belong to nothing and are older than a day.

    Works on the configured database and store, beside running hosts. Exits with 1 when the bytes of an object are gone.
    """
    try:
        result = asyncio.run(_collect(dry_run))
    except (Error, StartRefused) as error:
        fail(problems_of(error) or [str(error)])
        raise typer.Exit(1) from error
    if as_json:
        put(codec.to_plain(result))
    else:
        verb = "would be removed" if dry_run else "removed"
        say(
            f"{verb}: {result.expired_uploads} unfinished uploads, {result.expired_pictures} unused pictures, "
            f"{result.expired_objects} expired objects, {result.orphans} orphaned blobs"
        )
        for each in result.missing:
            fail([f"the bytes are gone of {each}"])
    if result.missing:
        raise typer.Exit(1)


@storage.command("buckets", epilog="Example: orion storage buckets --json")
def buckets(as_json: Annotated[bool, typer.Option("--json", help="Print the buckets as JSON.")] = False) -> None:
    """List all buckets by name."""
    try:
        found = asyncio.run(_buckets())
    except (Error, StartRefused) as error:
        fail(problems_of(error) or [str(error)])
        raise typer.Exit(1) from error
    if as_json:
        put([codec.to_plain(bucket) for bucket in found])
        return
    for bucket in found:
        owner = f"owner {bucket.owner_id}" if bucket.owner_id else "no owner"
        say(f"{bucket.name}: {bucket.visibility}, at most {bucket.max_size} bytes an object, {owner}")


async def _collect(dry_run: bool) -> Collected:
    # Imported late: help and completion need no platform.
    from orion_core.cli.embed import serving

    async with serving("storage") as platform:
        return await platform.service(Storage).collect(dry_run)


async def _buckets() -> list[Bucket]:
    from orion_core.cli.embed import serving

    found: list[Bucket] = []
    async with serving("storage") as platform:
        cursor: str | None = ""
        while cursor is not None:
            page = await platform.service(Storage).buckets(cursor, _PAGE)
            found += page.items
            cursor = page.next_cursor
    return found
