"""The page of all HTTP paths, from the OpenAPI document of a platform with ORION's own plugins."""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

from generate_text import markdown, sentence, slug, table

from orion_core.platform import VERSION, Platform
from orion_core.plugin import Plugin
from orion_core.settings import Settings
from orion_core.web.access import OPT, AccessRule
from orion_core.web.app import build
from orion_core.web.host import HEALTH

INTRO = """
    JSON with names in snake_case; errors are `application/problem+json` with a [code](errors.md). A running host has
    the whole document at `/schema/openapi.json` and a page for people at `/schema`. Every host also answers its
    [health](../explanation/health.md):
    """


def http_page(plugins: Mapping[str, Plugin]) -> str:
    """Every path, from the OpenAPI document of a platform with all plugins."""
    with tempfile.TemporaryDirectory() as folder:
        platform = Platform.load(*plugins, settings=Settings(data_dir=folder))
        given = {**platform.contracts, "blobs": None, "purge": None}
        app = build(platform.routes, given, platform.identity, version=VERSION, docs=True, max_body=1_048_576)
        document = app.openapi_schema.to_schema()
    rules: dict[tuple[str, str], AccessRule] = {
        (route.path_format, verb.lower()): handler.opt[OPT]
        for route in app.routes
        for handler in getattr(route, "route_handlers", [])
        if OPT in handler.opt
        for verb in handler.http_methods
    }
    lines = [
        "# HTTP",
        inspect.cleandoc(INTRO) + " " + ", ".join(f"`GET {path}`" for path in HEALTH) + ".",
    ]
    by_tag: dict[str, list[str]] = {}
    used: dict[str, None] = {}
    for path, item in sorted(document["paths"].items()):
        for verb, operation in item.items():
            if not isinstance(operation, dict) or "responses" not in operation:
                continue
            summary = operation.get("summary", "")
            # One word is the name of the handler, which nobody needs to read.
            entry = [f"### {verb.upper()} {path}", sentence(summary) if " " in summary else ""]
            entry += [markdown(operation.get("description", "")), f"For {access(rules.get((path, verb)))}."]
            entry += list(_parameters(operation))
            entry += list(_bodies(operation, used))
            by_tag.setdefault(operation["tags"][0], []).append("\n\n".join(filter(None, entry)))
    for tag, entries in sorted(by_tag.items()):
        lines += [f"## {tag}", *entries]
    schemas = document["components"]["schemas"]
    return "\n\n".join([*lines, "## Bodies", *_schemas(schemas, list(used))])


def access(rule: AccessRule | None) -> str:
    """Who may use a route."""
    if rule is None or not rule.signed_in:
        return "anybody"
    return f"people who hold `{rule.permission}`" if rule.permission else "people who are signed in"


def _parameters(operation: Mapping[str, Any]) -> Iterator[str]:
    rows = [
        (
            f"`{each['name']}`",
            each["in"],
            "required" if each.get("required") else "optional",
            each.get("description", ""),
        )
        for each in operation.get("parameters", [])
    ]
    if rows:
        yield table(("parameter", "in", "", ""), rows)


def _bodies(operation: Mapping[str, Any], used: dict[str, None]) -> Iterator[str]:
    content = (operation.get("requestBody") or {}).get("content", {})
    for media, item in content.items():
        names = references(item.get("schema", {}))
        used.update(dict.fromkeys(names))
        shown = " or ".join(f"[`{name}`](#{slug(name)})" for name in names)
        fields = [f"`{name}`" for name in item.get("schema", {}).get("properties", {})]
        yield f"Takes {shown or 'an object with ' + ', '.join(fields)} as `{media}`."
    for status, response in operation["responses"].items():
        if not status.startswith("2"):
            continue
        names = [name for each in response.get("content", {}).values() for name in references(each.get("schema", {}))]
        used.update(dict.fromkeys(names))
        shown = " or ".join(f"[`{name}`](#{slug(name)})" for name in names)
        yield f"Answers {status}{f' with {shown}' if shown else ''}."


def _schemas(schemas: Mapping[str, Any], wanted: list[str]) -> Iterator[str]:
    done: list[str] = []
    while wanted:
        name = wanted.pop(0)
        if name in done or name not in schemas:
            continue
        done.append(name)
        for inner in schemas[name].get("properties", {}).values():
            wanted += references(inner)
    for name in sorted(done):
        required = schemas[name].get("required", [])
        rows = [
            (f"`{field}`", kind_of(schema), "required" if field in required else "optional")
            for field, schema in schemas[name].get("properties", {}).items()
        ]
        yield f"### {name}\n\n{table(('field', 'type', ''), rows)}"


def references(schema: Any) -> list[str]:
    """The names of all schemas that `schema` refers to."""
    if isinstance(schema, Mapping):
        own_name = [schema["$ref"].rpartition("/")[2]] if "$ref" in schema else []
        return own_name + [name for inner in schema.values() for name in references(inner)]
    return [name for inner in schema for name in references(inner)] if isinstance(schema, list) else []


def kind_of(schema: Mapping[str, Any]) -> str:
    """The type of a JSON schema in a few words."""
    if names := references(schema):
        listed = "list of " if schema.get("type") == "array" else ""
        return listed + " or ".join(f"[`{name}`](#{slug(name)})" for name in names)
    if options := schema.get("oneOf") or schema.get("anyOf"):
        return " or ".join(kind_of(option) for option in options)
    if schema.get("type") == "array":
        return "list of " + kind_of(schema.get("items", {}))
    given = schema.get("type", "anything")
    words = " or ".join(given) if isinstance(given, list) else str(given)
    return f"{words} ({schema['format']})" if "format" in schema else words
