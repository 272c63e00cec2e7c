"""The API document at the gateway is that of the whole deployment, wherever its services run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from orion_core.plugin import discover, under
from orion_core.testing import Orion

pytestmark = pytest.mark.reaches("local", "processes")


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for inner in part.values():
            yield from references(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from references(inner)


async def test_every_route_of_every_service_is_described_and_every_reference_leads_somewhere(orion: Orion) -> None:
    answer = await orion.http.get("/schema/openapi.json")
    document = answer.json()
    plugins = discover().plugins
    prefixes = {path: name for name, plugin in plugins.items() for path in plugin.paths}

    assert answer.status_code == 200
    assert "x-orion-missing" not in document
    assert {under(prefixes, path) for path in document["paths"]} == {name for name in plugins if plugins[name].routes}
    schemas = document["components"]["schemas"]
    assert set(references(document)) <= {f"#/components/schemas/{name}" for name in schemas}
    ids = [
        operation["operationId"]
        for item in document["paths"].values()
        for operation in item.values()
        if isinstance(operation, dict) and "operationId" in operation
    ]
    assert len(ids) == len(set(ids))


async def test_the_page_for_people_has_every_route_too(orion: Orion) -> None:
    document = (await orion.http.get("/schema/openapi.json")).json()
    page = await orion.http.get("/schema")

    assert page.headers["content-type"].startswith("text/html")
    assert [path for path in document["paths"] if path not in page.text] == []
