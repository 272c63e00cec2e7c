"""Which fields a request may set and an answer may show, for every route: a change has to show in the review."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from orion_core.plugin import discover
from orion_core.web.app import build

SNAPSHOT = Path(__file__).with_name("fields.json")
METHODS = ("get", "put", "post", "delete", "patch", "head")
NEVER_WRITTEN = {
    "id",
    "owner_id",
    "roles",
    "status",
    "built_in",
    "granted_by",
    "created_at",
    "updated_at",
    "token_hash",
}
NEVER_SHOWN = {"password", "password_hash", "token_hash", "email_key", "refresh_token_hash"}


def document() -> Mapping[str, Any]:
    """The OpenAPI document of ORION's own services."""
    found = discover()
    own = [
        plugin
        for name, plugin in found.plugins.items()
        if getattr(found.modules[name], "__name__", "").startswith("orion_plugins.")
    ]
    given = {plugin.name: None for plugin in own} | {"blobs": None, "purge": None}
    routes = [route for plugin in own for route in plugin.routes]
    nobody: Any = None
    made = build(routes, given, nobody, version="0", docs=True, max_body=1)
    schema: Mapping[str, Any] = json.loads(json.dumps(made.openapi_schema.to_schema()))
    return schema


def snapshot() -> dict[str, dict[str, str]]:
    """Fields by route: those that its bodies may set, and those that its successful answers may show."""
    schema = document()
    return {
        f"{method.upper()} {path}": {
            "writes": _listed(_fields(schema, _content(operation.get("requestBody", {})))),
            "shows": _listed(
                field
                for status, answer in operation["responses"].items()
                if status.startswith("2")
                for field in _fields(schema, _content(answer))
            ),
        }
        for path, item in sorted(schema["paths"].items())
        for method, operation in item.items()
        if method in METHODS
    }


def _listed(fields: Iterable[str]) -> str:
    return " ".join(sorted(set(fields)))


def _content(part: Mapping[str, Any]) -> list[Any]:
    return [each.get("schema", {}) for each in part.get("content", {}).values()]


def _fields(schema: Mapping[str, Any], parts: list[Any], prefix: str = "", depth: int = 0) -> Iterator[str]:
    for part in parts:
        while "$ref" in part:
            part = schema["components"]["schemas"][part["$ref"].rpartition("/")[2]]
        for several in ("oneOf", "anyOf", "allOf"):
            yield from _fields(schema, part.get(several, []), prefix, depth)
        if "items" in part:
            yield from _fields(schema, [part["items"]], prefix, depth)
        for name, inner in part.get("properties", {}).items():
            yield prefix + name
            if depth < 4:
                yield from _fields(schema, [inner], f"{prefix}{name}.", depth + 1)


def test_fields_change_only_on_purpose() -> None:
    """A54: ASVS 15.3.3. Write the file anew with: python tests/house/test_fields.py"""
    assert json.loads(SNAPSHOT.read_text()) == snapshot()


@pytest.mark.parametrize("route", sorted(json.loads(SNAPSHOT.read_text()) if SNAPSHOT.exists() else ()))
def test_no_route_takes_what_the_service_decides_or_shows_what_is_secret(route: str) -> None:
    """A54."""
    found = json.loads(SNAPSHOT.read_text())[route]
    assert [field for field in found["writes"].split() if field.rpartition(".")[2] in NEVER_WRITTEN] == []
    assert [field for field in found["shows"].split() if field.rpartition(".")[2] in NEVER_SHOWN] == []


if __name__ == "__main__":
    SNAPSHOT.write_text(json.dumps(snapshot(), indent=2) + "\n")
