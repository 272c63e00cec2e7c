"""ORION inside an existing Litestar application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from litestar import Litestar, Router
from litestar.config.app import AppConfig
from litestar.plugins import InitPlugin

from orion_core.errors import Error
from orion_core.platform import Platform
from orion_core.settings import Settings
from orion_core.web.app import json_support, own_handlers, provided, wrapped_in_guard
from orion_core.web.client_ip import networks
from orion_core.web.edge import edge
from orion_core.web.guard import check_rules
from orion_core.web.json_request import JsonRequest
from orion_core.web.problems import handlers


class OrionPlugin(InitPlugin):
    """Serves plugins of ORION in the application it is given to, and opens and closes them with it.

    ::

        app = Litestar(route_handlers=[...], plugins=[OrionPlugin("auth", "users")])

    Handlers of the application take contracts by type (``auth: NamedDependency[Auth]``), declare access in one line
    (``opt=signed_in()``) and may raise ORION's errors. `names` are the plugins, all installed ones if none.
    """

    def __init__(self, *names: str, settings: Settings | None = None, **options: Any) -> None:
        self.platform = Platform.load(*names, settings=settings, **options)

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Add routes, dependencies, the guard and the lifespan; called by Litestar."""
        platform = self.platform
        trusted = networks(platform.settings.trusted_proxies)

        def on_the_edge(app: Any) -> Any:
            return edge(app, trusted)

        @asynccontextmanager
        async def lifespan(app: Litestar) -> AsyncIterator[None]:
            controllers = tuple(platform.routes)
            # Only ours must say who may use them; the application's own are its own business.
            check_rules(pair for pair in own_handlers(app) if isinstance(pair[1].owner, controllers))
            async with platform:
                yield

        # A router of their own: how bodies of the application's routes are read is its own business.
        ours = Router("/", route_handlers=list(platform.routes), request_class=JsonRequest)
        app_config.route_handlers = [*app_config.route_handlers, ours]
        app_config.dependencies = {**provided(platform.contracts), **app_config.dependencies}
        app_config.middleware = [on_the_edge, wrapped_in_guard(platform.identity), *app_config.middleware]
        # The application's own errors stay its own.
        app_config.exception_handlers = {Error: handlers()[Error], **app_config.exception_handlers}
        support = json_support()
        app_config.type_encoders = {**support["type_encoders"], **(app_config.type_encoders or {})}
        app_config.type_decoders = [*support["type_decoders"], *(app_config.type_decoders or [])]
        app_config.plugins = [*app_config.plugins, *support["plugins"]]
        app_config.lifespan = [*app_config.lifespan, lifespan]
        return app_config
