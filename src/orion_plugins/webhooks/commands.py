"""``orion webhooks endpoints``, ``deliveries`` and ``retry``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar
from uuid import UUID

import typer

from orion_core.cli.console import fail, problems_of, put, say, table
from orion_core.codec import to_plain
from orion_core.contracts.webhooks import Delivery, DeliveryPage, EndpointPage, Webhooks
from orion_core.errors import Error, StartRefused

T = TypeVar("T")
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Limit = Annotated[int, typer.Option(min=1, max=200, help="How many, newest first.")]

webhooks = typer.Typer(name="webhooks", help="Outbound webhooks.", no_args_is_help=True)


@webhooks.callback()
def _group() -> None:
    """Outbound webhooks."""


@webhooks.command("endpoints", epilog="Example: orion webhooks endpoints --json")
def endpoints(limit: Limit = 50, as_json: AsJson = False) -> None:
    """List endpoints, newest first; never their secrets."""

    async def ask(service: Webhooks) -> EndpointPage:
        return await service.endpoints("", limit)

    page = _ask(ask)
    if as_json:
        put(to_plain(page))
        return
    rows = [
        (str(each.id), each.url, " ".join(each.event_types), "yes" if each.enabled else f"no: {each.disabled_reason}")
        for each in page.items
    ]
    table("Endpoints", ("id", "url", "event types", "enabled"), rows)


@webhooks.command("deliveries", epilog="Example: orion webhooks deliveries --status dead")
def deliveries(
    endpoint: Annotated[UUID | None, typer.Option(help="Only those of the endpoint with this id.")] = None,
    status: Annotated[str, typer.Option(help="Only pending, succeeded, dead or aborted ones.")] = "",
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """List deliveries, newest first."""

    async def ask(service: Webhooks) -> DeliveryPage:
        return await service.deliveries(endpoint, status, "", limit)

    page = _ask(ask)
    if as_json:
        put(to_plain(page))
        return
    rows = [
        (
            str(each.id),
            each.type,
            each.status,
            str(each.attempts),
            each.created_at.isoformat("T", "seconds"),
            each.detail,
        )
        for each in page.items
    ]
    table("Deliveries", ("id", "type", "status", "attempts", "created", "detail"), rows)


@webhooks.command("retry", epilog="Example: orion webhooks retry 0190f5a0-0000-7000-8000-000000000001")
def retry(
    delivery: Annotated[UUID, typer.Argument(help="Id of the delivery.")],
    as_json: AsJson = False,
) -> None:
    """Send a delivery again, with the same webhook-id.

    The running host does it, or the next one that is started.
    """

    async def ask(service: Webhooks) -> Delivery:
        return await service.retry(delivery)

    found = _ask(ask)
    if as_json:
        put(to_plain(found))
    else:
        say(f"{found.type} will be sent again to the endpoint {found.endpoint_id}")


def _ask(ask: Callable[[Webhooks], Awaitable[T]]) -> T:
    async def run() -> T:
        # Imported late: help and completion need no platform.
        from orion_core.cli.embed import serving

        async with serving("webhooks") as platform:
            return await ask(platform.service(Webhooks))

    try:
        return asyncio.run(run())
    except (Error, StartRefused) as error:
        fail(problems_of(error) or [str(error)])
        raise typer.Exit(1) from error
