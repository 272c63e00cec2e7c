"""The API documents: OpenAPI 3.1 at /schema/openapi.json and a page at /schema that loads nothing from elsewhere."""

from __future__ import annotations

import html
import json
from typing import Any

import attrs
from litestar import Litestar, MediaType, Request
from litestar.openapi.plugins import JsonRenderPlugin, OpenAPIRenderPlugin
from litestar.openapi.spec import OpenAPIMediaType, OpenAPIResponse, Reference, Schema
from litestar.openapi.spec.enums import OpenAPIType

from orion_core.validators import schema_of
from orion_core.values import is_value
from orion_core.web.access import OPT
from orion_core.web.asgi import PROBLEM

_STATUSES = {
    "401": "No access token, or one that does not count",
    "403": "The caller lacks the permission",
    "4XX": "What was wrong with the request",
    "503": "Something needed is away; see Retry-After",
}


class ApiPage(OpenAPIRenderPlugin):
    """One static page made on the server from the OpenAPI document."""

    def __init__(self) -> None:
        super().__init__(path="/", media_type=MediaType.HTML)

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        return page(openapi_schema).encode()


def complete(document: Any, app: Litestar) -> None:
    """Add to the generated `document` what Litestar leaves out: constraints of values, problems, the bearer scheme."""
    schemas = document.components.schemas
    schemas["Problem"] = _problem_schema()
    _constrain(schemas, app)
    rules = {
        (route.path_format, method): handler.opt.get(OPT)
        for route in app.routes
        for handler in getattr(route, "route_handlers", [])
        for method in handler.http_methods
    }
    for path, item in (document.paths or {}).items():
        for method in ("get", "put", "post", "delete", "patch"):
            operation = getattr(item, method)
            if operation is None:
                continue
            rule = rules.get((path, method.upper()))
            responses = {
                code: response for code, response in (operation.responses or {}).items() if code not in ("400", "500")
            }
            wanted = ["4XX", "503"]
            if rule is not None and rule.signed_in:
                operation.security = [{"bearer": []}]
                wanted += ["401", "403"] if rule.permission else ["401"]
            for code in wanted:
                responses.setdefault(code, _problem_response(_STATUSES[code]))
            operation.responses = responses
    from litestar.openapi.spec import SecurityScheme

    document.components.security_schemes = {
        "bearer": SecurityScheme(type="http", scheme="bearer", bearer_format="JWT", description="An access token")
    }


def _problem_schema() -> Schema:
    text = Schema(type=OpenAPIType.STRING)
    field = Schema(type=OpenAPIType.OBJECT, properties={"field": text, "code": text, "detail": text})
    return Schema(
        type=OpenAPIType.OBJECT,
        description="What went wrong (RFC 9457)",
        required=["type", "title", "status", "detail", "instance", "code", "request_id"],
        properties={
            "type": text,
            "title": text,
            "status": Schema(type=OpenAPIType.INTEGER),
            "detail": text,
            "instance": text,
            "code": text,
            "request_id": text,
            "errors": Schema(type=OpenAPIType.ARRAY, items=field),
            "retry_after": Schema(type=OpenAPIType.NUMBER, description="Seconds, as in Retry-After"),
        },
    )


def _problem_response(description: str) -> OpenAPIResponse:
    content = {PROBLEM: OpenAPIMediaType(schema=Reference(ref="#/components/schemas/Problem"))}
    return OpenAPIResponse(description=description, content=content)


def _constrain(schemas: Any, app: Litestar) -> None:
    """Put the constraints of the validators into the schemas of the values that routes take."""
    for cls in _values(app):
        schema = schemas.get(cls.__name__)
        for field in attrs.fields(cls):
            target = ((schema.properties if schema else None) or {}).get(field.name)
            if not isinstance(target, Schema):
                continue
            for keyword, limit in schema_of(field).items():
                setattr(target, _snake(keyword), limit)


def _snake(keyword: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in keyword)


def _values(app: Litestar) -> set[type]:
    found: set[type] = set()
    for route in app.routes:
        for handler in getattr(route, "route_handlers", []):
            field = handler.parsed_data_field
            if field is not None and is_value(field.annotation):
                found.add(field.annotation)
    return found


_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid #8884; text-transform: capitalize; }
details { margin: .5rem 0; border: 1px solid #8884; border-radius: .4rem; padding: .4rem .8rem; }
summary { cursor: pointer; } code, pre { font: .9em ui-monospace, monospace; } pre { overflow-x: auto; }
.verb { display: inline-block; min-width: 4.5rem; font-weight: 700; } .lock { opacity: .7; font-size: .85em; }
"""


def page(document: dict[str, Any]) -> str:
    """`document` (OpenAPI) as one self-contained HTML page."""
    groups: dict[str, list[str]] = {}
    for path, item in document.get("paths", {}).items():
        for verb, operation in item.items():
            if isinstance(operation, dict) and "responses" in operation:
                tag = (operation.get("tags") or ["other"])[0]
                groups.setdefault(tag, []).append(_entry(path, verb, operation))
    body = "".join(f"<h2>{html.escape(tag)}</h2>{''.join(entries)}" for tag, entries in sorted(groups.items()))
    schemas = "".join(
        f"<details id='{html.escape(name)}'><summary><code>{html.escape(name)}</code></summary>"
        f"<pre>{html.escape(json.dumps(schema, indent=2))}</pre></details>"
        for name, schema in sorted(document.get("components", {}).get("schemas", {}).items())
    )
    title = html.escape(document["info"]["title"])
    says = document["info"].get("description")
    description = f"<p>{html.escape(says)}</p>" if says else ""
    return (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{title} API</title>"
        f"<meta name='viewport' content='width=device-width'><style>{_STYLE}</style></head><body>"
        f"<h1>{title} API</h1><p>Version {html.escape(document['info']['version'])}. "
        "The machine-readable form is <a href='/schema/openapi.json'>openapi.json</a> (OpenAPI 3.1). "
        f"Errors are application/problem+json.</p>{description}"
        f"{body}<h2>Schemas</h2>{schemas}</body></html>"
    )


def _entry(path: str, verb: str, operation: dict[str, Any]) -> str:
    lock = " <span class='lock'>needs a token</span>" if operation.get("security") else ""
    parts = [f"<p>{html.escape(operation['description'])}</p>" if operation.get("description") else ""]
    if parameters := operation.get("parameters"):
        parts.append("<h4>Parameters</h4><ul>")
        parts += [
            f"<li><code>{html.escape(item['name'])}</code> in {html.escape(item['in'])}"
            f"{' (required)' if item.get('required') else ''}</li>"
            for item in parameters
        ]
        parts.append("</ul>")
    if content := (operation.get("requestBody") or {}).get("content"):
        parts.append(f"<h4>Body</h4>{_links(content)}")
    parts.append("<h4>Answers</h4><ul>")
    parts += [
        f"<li><code>{html.escape(code)}</code> {html.escape(response.get('description', ''))} "
        f"{_links(response.get('content') or {})}</li>"
        for code, response in sorted(operation["responses"].items())
    ]
    parts.append("</ul>")
    summary = html.escape(operation.get("summary") or "")
    return (
        f"<details><summary><span class='verb'>{verb.upper()}</span><code>{html.escape(path)}</code> {summary}{lock}"
        f"</summary>{''.join(parts)}</details>"
    )


def _links(content: dict[str, Any]) -> str:
    found = []
    for media_type, item in content.items():
        reference = (item.get("schema") or {}).get("$ref", "").rpartition("/")[2]
        link = f" <a href='#{html.escape(reference)}'>{html.escape(reference)}</a>" if reference else ""
        found.append(f"<code>{html.escape(media_type)}</code>{link}")
    return " ".join(found)


__all__ = ["ApiPage", "JsonRenderPlugin", "complete", "page"]
