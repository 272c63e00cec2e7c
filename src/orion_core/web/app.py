"""The Litestar application of one host: the routes of its plugins, contracts by type, problems as answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from litestar import Litestar
from litestar.config.app import AppConfig
from litestar.di import Provide
from litestar.openapi.config import OpenAPIConfig

from orion_core.contract import Contract
from orion_core.ports.identity import Identity
from orion_core.web.docs import ApiPage, complete
from orion_core.web.guard import check_rules, guard
from orion_core.web.problems import handlers


def build(
    routes: Sequence[type],
    contracts: Mapping[str, Contract],
    identity: Identity,
    *,
    version: str,
    docs: bool,
    max_body: int,
) -> Litestar:
    """Compose the application; raises `StartRefused` for routes that do not say who may use them."""
    config = configure(AppConfig(), contracts, identity, max_body)
    app = Litestar(
        route_handlers=list(routes),
        dependencies=config.dependencies,
        exception_handlers=config.exception_handlers,
        middleware=config.middleware,
        request_max_body_size=max_body,
        logging_config=None,
        openapi_config=OpenAPIConfig(
            title="ORION", version=version, path="/schema", render_plugins=[ApiPage()], use_handler_docstrings=True
        )
        if docs
        else None,
    )
    check_rules(_own_handlers(app))
    if docs:
        complete(app.openapi_schema, app)
    return app


def configure(config: AppConfig, contracts: Mapping[str, Contract], identity: Identity, max_body: int) -> AppConfig:
    """Add to `config` what routes of plugins rely on: contracts by name, the guard, problems as answers."""
    config.dependencies = {**config.dependencies, **{name: _provide(stub) for name, stub in contracts.items()}}
    config.exception_handlers = {**handlers(), **config.exception_handlers}
    config.middleware = [*config.middleware, _middleware(identity)]
    return config


def _provide(stub: Contract) -> Provide:
    async def provide() -> Any:
        return stub

    return Provide(provide)


def _middleware(identity: Identity) -> Any:
    def wrap(app: Any) -> Any:
        return guard(app, identity)

    return wrap


def _own_handlers(app: Litestar) -> Any:
    for route in app.routes:
        if route.path.startswith("/schema"):
            continue
        for handler in getattr(route, "route_handlers", []):
            if "OPTIONS" not in handler.http_methods or len(handler.http_methods) > 1:
                yield route.path, handler
