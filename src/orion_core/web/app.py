"""The Litestar application of one host: the routes of its plugins, contracts by type, problems as answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from litestar import Litestar
from litestar._openapi.schema_generation import SchemaCreator  # the type its plugins are given
from litestar.di import Provide
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.spec import Schema
from litestar.plugins import OpenAPISchemaPlugin
from litestar.typing import FieldDefinition

from orion_core.json_value import Json
from orion_core.ports.identity import Identity
from orion_core.web.asgi import App as ASGIApp
from orion_core.web.docs import ApiPage, complete
from orion_core.web.guard import Denied, check_rules, guard
from orion_core.web.head import with_head
from orion_core.web.host import plain
from orion_core.web.json_request import JsonRequest
from orion_core.web.problems import handlers
from orion_core.web.route_table import RouteTable

DOCS = "/schema"


def build(
    routes: Sequence[type],
    given: Mapping[str, Any],
    identity: Identity,
    *,
    version: str,
    docs: bool,
    max_body: int,
    denied: Denied | None = None,
) -> Litestar:
    """Compose the application; handlers may take what is in `given` by name, and `denied` is told of refusals.

    Raises `StartRefused` for routes that do not say who may use them.
    """
    app = Litestar(
        route_handlers=list(routes),
        dependencies=provided(given),
        exception_handlers=handlers(),
        middleware=[wrapped_in_guard(identity, denied)],
        request_class=JsonRequest,
        request_max_body_size=max_body,
        logging_config=None,
        **json_support(),
        openapi_config=OpenAPIConfig(
            title="ORION", version=version, path=DOCS, render_plugins=[ApiPage()], use_handler_docstrings=True
        )
        if docs
        else None,
    )
    check_rules(own_handlers(app))
    if docs:
        complete(app.openapi_schema, app)
    return app


def face(app: Litestar, *, max_body: int) -> ASGIApp:
    """`app` as the outside sees it: one spelling of each path, and HEAD wherever there is GET."""
    table = RouteTable(app.routes, max_body=max_body)
    return plain(with_head(cast("ASGIApp", app), table), table)


def json_support() -> dict[str, Any]:
    """How Litestar reads, writes and describes `Json`."""
    return {
        "type_encoders": {Json: Json.plain},
        "type_decoders": [(lambda kind: kind is Json, lambda _, plain: Json.of(plain))],
        "plugins": [JsonSchema()],
    }


class JsonSchema(OpenAPISchemaPlugin):
    """Describes `Json` as what it is: anything."""

    @staticmethod
    def is_plugin_supported_type(value: Any) -> bool:
        return value is Json

    def to_openapi_schema(self, field_definition: FieldDefinition, schema_creator: SchemaCreator) -> Schema:
        return Schema(description="any JSON value")


def provided(given: Mapping[str, Any]) -> dict[str, Provide]:
    """The dependencies through which handlers take contracts and ports, each under its name."""
    return {name: _provide(item) for name, item in given.items()}


def _provide(item: Any) -> Provide:
    # A dependency's parameters are dependencies themselves, so what it gives comes by closure.
    async def provide() -> Any:
        return item

    return Provide(provide)


def wrapped_in_guard(identity: Identity, denied: Denied | None = None) -> Any:
    """The guard as a middleware of Litestar."""

    def wrap(app: Any) -> Any:
        return guard(app, identity, denied)

    return wrap


def own_handlers(app: Litestar) -> Iterator[tuple[str, Any]]:
    """The handlers of `app` that are not Litestar's, each with words for messages."""
    for route in app.routes:
        if route.path == DOCS or route.path.startswith(f"{DOCS}/"):
            continue
        # WebSockets and ASGI applications have one handler and no method.
        for handler in getattr(route, "route_handlers", None) or [getattr(route, "route_handler", None)]:
            methods = getattr(handler, "http_methods", {type(handler).__name__})
            # Litestar answers OPTIONS by itself.
            if methods != {"OPTIONS"}:
                yield f"{', '.join(sorted(methods))} {route.path}", handler
