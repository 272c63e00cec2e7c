"""One API document for the whole deployment."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from cache_kit import Front
from test_proxy import Client
from upstream import Upstream, Wire, ok

from orion_core.plugin import under
from orion_core.settings import Settings
from orion_plugins.gateway import documents as module
from orion_plugins.gateway.documents import documents
from orion_plugins.gateway.openapi import Document, is_document, merged

PREFIXES = {"/api/v1/auth": "auth", "/api/v1/users": "users", "/api/v1/search": "search"}


def owner(path: str) -> str | None:
    return under(PREFIXES, path)


def operation(name: str, schema: str = "", **more: Any) -> Document:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"operationId": name, "responses": {"200": {"content": content} if schema else {}}, **more}


def document(paths: dict[str, Any], **schemas: Any) -> Document:
    return {
        "openapi": "3.1.0",
        "info": {"title": "ORION", "version": "1"},
        "paths": paths,
        "components": {"schemas": schemas},
    }


OWN = document({"/api/v1/auth/me": {"get": operation("me", "Account")}}, Account={"type": "object"}, Problem={"a": 1})


def test_paths_come_from_the_service_they_belong_to() -> None:
    """A peer says nothing about paths of others."""
    users = document(
        {
            "/api/v1/users/me": {"get": operation("profile")},
            "/api/v1/auth/me": {"get": operation("forged")},
            "/api/v1/search": {"get": operation("forged")},
            "/elsewhere": {"get": operation("forged")},
        }
    )
    whole = merged(OWN, {"users": users}, owner)

    assert list(whole["paths"]) == ["/api/v1/auth/me", "/api/v1/users/me"]
    assert whole["paths"]["/api/v1/auth/me"] == OWN["paths"]["/api/v1/auth/me"]
    assert whole["info"] == OWN["info"]


def test_components_of_one_name_are_shared_or_renamed_with_what_refers_to_them() -> None:
    """No two services' schemas are mixed up."""
    users = document(
        {"/api/v1/users/me": {"get": operation("me", "Account", security=[{"bearer": []}])}},
        Account={"properties": {"problem": {"$ref": "#/components/schemas/Problem"}}},
        Problem={"a": 1},
    )
    users["components"]["securitySchemes"] = {"bearer": {"type": "http"}}
    own = {**OWN, "components": {**OWN["components"], "securitySchemes": {"bearer": {"type": "apiKey"}}}}
    whole = merged(own, {"users": users}, owner)

    assert set(whole["components"]["schemas"]) == {"Account", "Problem", "Users_Account"}
    theirs = whole["paths"]["/api/v1/users/me"]["get"]
    assert json.dumps(theirs).count("#/components/schemas/Users_Account") == 1
    assert (theirs["operationId"], theirs["security"]) == ("users_me", [{"Users_bearer": []}])
    assert whole["components"]["schemas"]["Account"] == {"type": "object"}
    assert OWN["components"].keys() == {"schemas"}, "what was given is left as it was"


def test_services_without_a_document_are_named() -> None:
    whole = merged(OWN, {"users": None, "search": None}, owner)

    assert whole["x-orion-missing"] == ["search", "users"]
    assert whole["info"]["description"].endswith("could not be asked: search, users.")
    assert "x-orion-missing" not in merged(OWN, {}, owner)


@pytest.mark.parametrize(
    "given",
    [None, [], {}, {"paths": []}, {"paths": {}, "components": []}, {"paths": {}, "components": {"schemas": []}},
     {"paths": {}, "tags": ["a"]}],
)  # fmt: skip
def test_what_is_no_document_is_told_apart(given: Any) -> None:
    assert not is_document(given)
    assert merged(OWN, {"users": document({"/api/v1/users/me": ["odd"], "/api/v1/users": {"get": "odd"}})}, owner)


async def own_app(scope: Any, receive: Any, send: Any) -> None:
    assert (scope["path"], scope["method"]) == ("/schema/openapi.json", "GET")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(OWN).encode()})


def front(*, app: Any = own_app, docs: bool = True, **peers: str) -> tuple[Any, Front]:
    host = Front(app)
    host.settings = Settings(peers={name: (url,) for name, url in peers.items()}, docs=docs)
    host.served, host.prefixes = {"auth", "gateway"}, PREFIXES
    return documents(app, host), host


async def ask(app: Any, path: str = "/schema/openapi.json", method: str = "GET") -> Client:
    client = Client(method, path)
    await app(client.scope, client.receive, client.send)
    return client


USERS = json.dumps(document({"/api/v1/users/me": {"get": operation("profile")}})).encode()


async def test_a_peer_that_comes_later_is_described_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a peer away the rest is served, and says so; it is asked again, and what it said is kept."""
    monkeypatch.setattr(module, "AGAIN", 0.0)
    answers = [b"HTTP/1.1 503 away\r\ncontent-length: 0\r\n\r\n", ok(b"<html>"), ok(b"{}"), ok(USERS)]

    async def script(wire: Wire) -> None:
        request = await wire.head()
        assert (request.target, request.all("authorization")) == ("/schema/openapi.json", [])
        await wire.send(answers.pop(0))

    async with Upstream(script) as users:
        app, host = front(users=users.url)
        for _ in range(3):
            assert json.loads((await ask(app)).body)["x-orion-missing"] == ["users"]
        found = await ask(app)
        again = await asyncio.gather(*(ask(app) for _ in range(5)))
        await host.stop()

    assert found.answer[b"content-type"] == b"application/vnd.oai.openapi+json"
    assert list(json.loads(found.body)["paths"]) == ["/api/v1/auth/me", "/api/v1/users/me"]
    assert {client.body for client in again} == {found.body}
    assert answers == []


async def test_a_document_is_kept_while_its_peer_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT", 0.0)

    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(ok(USERS))

    async with Upstream(script) as users:
        app, host = front(users=users.url)
        before = (await ask(app)).body
    after = (await ask(app)).body
    await host.stop()

    assert before == after
    assert b"/api/v1/users/me" in before


async def test_the_page_for_people_shows_the_same() -> None:
    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(ok(USERS))

    async with Upstream(script) as users:
        app, host = front(users=users.url)
        away, _ = front(users=users.url, search="http://127.0.0.1:1")
        assert b"could not be asked: search" in (await ask(away, "/schema")).body
        page = await ask(app, "/schema")
        head = await ask(app, "/schema", "HEAD")
        await host.stop()

    assert b"/api/v1/users/me" in page.body
    assert b"/api/v1/auth/me" in page.body
    assert (head.body, head.answer[b"content-length"]) == (b"", b"%d" % len(page.body))


async def test_a_refusal_of_this_host_is_passed_on() -> None:
    async def refusing(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 404, "headers": [(b"a", b"b")]})
        await send({"type": "http.response.body", "body": b"none"})

    app, _ = front(app=refusing, users="http://127.0.0.1:1")
    answer = await ask(app)

    assert (answer.status, answer.body, answer.answer) == (404, b"none", {b"a": b"b"})


def test_without_peers_or_documents_there_is_no_layer() -> None:
    assert front()[0] is own_app
    assert front(docs=False, users="http://127.0.0.1:1")[0] is own_app
