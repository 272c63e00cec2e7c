"""The service `webhooks` described as data."""

import typer

from orion_core.plugin import Plugin, Sealed, hookimpl
from orion_plugins.webhooks.routes import MANAGE, DeliveryRoutes, EndpointRoutes
from orion_plugins.webhooks.service import WebhooksService
from orion_plugins.webhooks.settings import WebhooksSettings
from orion_plugins.webhooks.tables import (
    WebhookAttempt,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookMessage,
    WebhookSecret,
)


@hookimpl
def orion_plugin() -> Plugin:
    """Outbound webhooks."""
    return Plugin(
        "webhooks",
        service=WebhooksService,
        routes=[EndpointRoutes, DeliveryRoutes],
        tables=[WebhookEndpoint, WebhookSecret, WebhookMessage, WebhookDelivery, WebhookAttempt],
        migrations="orion_plugins.webhooks.migrations",
        settings=WebhooksSettings,
        sealed=[Sealed("webhook_secrets", "sealed")],
        permissions=[MANAGE],
        port=3008,
    )


@hookimpl
def orion_commands(cli: typer.Typer) -> None:
    """``orion webhooks ...``."""
    # Imported late: a host loads this module and has no use for the command line's libraries.
    from orion_plugins.webhooks.commands import webhooks

    cli.add_typer(webhooks, name="webhooks")
