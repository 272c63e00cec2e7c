"""``orion gateway purge``."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from orion_core.cli.console import fail, problems_of, say
from orion_core.errors import Error, StartRefused
from orion_plugins.gateway.routes import PurgeOrder

gateway = typer.Typer(name="gateway", help="The entry point for clients.", no_args_is_help=True)
_IN_MEMORY = (
    "the cache is in the memory of the running host: set ORION_CACHE_URL to redis://…, or purge it with "
    "POST /api/v1/gateway/admin/cache/purge"
)


@gateway.callback()
def _group() -> None:
    """The entry point for clients."""


@gateway.command("purge", epilog="Example: orion gateway purge --tag orion-bucket-pictures")
def purge(
    url: Annotated[list[str] | None, typer.Option(help="Address or path to forget; may be repeated.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Tag of answers to forget; may be repeated.")] = None,
) -> None:
    """Make the caches of all gateways forget answers, by address or by tag.

    Works through the cache on the server that ORION_CACHE_URL names. A cache in the memory of one process is purged
    there: POST /api/v1/gateway/admin/cache/purge.
    """
    try:
        asyncio.run(_purge(PurgeOrder(tuple(url or ()), tuple(tag or ()))))
    except (Error, StartRefused) as error:
        fail(problems_of(error) or [str(error)])
        raise typer.Exit(1) from error
    say(f"{len(url or ())} addresses and {len(tag or ())} tags are forgotten")


async def _purge(order: PurgeOrder) -> None:
    # Imported late: help and completion need no platform.
    from orion_core.cli.configured import configured
    from orion_core.cli.embed import serving

    if configured().settings.cache_url.startswith("memory:"):
        raise StartRefused([_IN_MEMORY])
    async with serving("gateway") as platform:
        await platform.purge.purge(urls=order.urls, tags=order.tags)
