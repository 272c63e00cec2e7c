"""The token layer: what is refused early, what is not ours to refuse, and that nothing is verified twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from litestar import Controller, get, post
from test_proxy import Client

from orion_core.context import ANONYMOUS, Actor, Context, use
from orion_core.errors import Unauthenticated, Unavailable
from orion_core.identity import TokenIdentity
from orion_core.testing import InProcess
from orion_core.web import public, signed_in
from orion_core.web.guard import VERIFIED
from orion_core.web.public_routes import PublicRoutes
from orion_plugins.gateway.token import token

SHOP = "/api/v1/shop"
PREFIXES = {SHOP: "shop"}


class ShopRoutes(Controller):
    """Routes for anybody and for some."""

    path = "/api/v1/shop"

    @get(["/offers", "/offers/{number:int}"], opt=public())
    async def offers(self) -> None: ...

    @post("/offers", opt=signed_in())
    async def offer(self) -> None: ...

    @get("/files/{where:path}", opt=public())
    async def files(self) -> None: ...

    @get(opt=public())
    async def home(self) -> None: ...


class Verifier:
    """An identity that knows one token, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    async def verify(self, given: str) -> Actor:
        self.asked += 1
        if given == "ada":
            return Actor("user", "ada")
        if given == "away":
            raise Unavailable("auth is away", retry_after=3)
        raise Unauthenticated("the access token does not count")


class Seen:
    """What stands behind the layer: remembers whom it was told of."""

    def __init__(self) -> None:
        self.actors: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.actors.append(scope.get(VERIFIED))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


async def ask(authorization: str, path: str, method: str = "GET", kind: str = "http") -> tuple[Client, Seen]:
    seen = Seen()
    app = token(seen, Verifier(), PREFIXES, [ShopRoutes])
    headers = [(b"authorization", authorization.encode())] if authorization else []
    client = Client(method=method, path=path, headers=headers)
    with use(Context(correlation_id="r-1")):
        await app({**client.scope, "type": kind}, client.receive, client.send)
    return client, seen


@pytest.mark.parametrize("authorization", ["Bearer nonsense", "Basic YWRhOmFkYQ==", "Bearer", "Bearer a b"])
@pytest.mark.parametrize("path", [f"{SHOP}/orders", f"{SHOP}/nothing/there"])
async def test_a_token_that_does_not_count_goes_no_further(authorization: str, path: str) -> None:
    """G1: whether the target exists makes no difference."""
    client, seen = await ask(authorization, path)

    assert (client.status, client.problem["code"]) == (401, "unauthenticated")
    assert client.answer[b"www-authenticate"] == b"Bearer"
    assert seen.actors == []


async def test_when_it_cannot_be_decided_the_answer_says_when_to_ask_again() -> None:
    for path in (f"{SHOP}/orders", f"{SHOP}/offers"):
        client, seen = await ask("Bearer away", path)
        assert (client.status, client.answer[b"retry-after"]) == (503, b"3")
        assert seen.actors == []


@pytest.mark.parametrize(
    ("method", "path", "passes"),
    [
        ("GET", f"{SHOP}/offers", True),
        ("GET", f"{SHOP}/offers/", True),
        ("GET", f"{SHOP}/offers/7", True),
        ("GET", f"{SHOP}/offers/7/8", False),
        ("GET", f"{SHOP}/files/a/b.css", True),
        ("GET", SHOP, True),
        ("POST", f"{SHOP}/offers", False),
        ("OPTIONS", f"{SHOP}/orders", True),
        ("GET", "/schema", True),
        ("GET", "/api/v1/shopping", True),
    ],
)
async def test_what_is_open_to_anybody_is_open_with_an_old_token_too(method: str, path: str, passes: bool) -> None:
    """G91: the routes themselves would let it pass, and what is no service's is not ours to judge."""
    client, seen = await ask("Bearer nonsense", path, method)

    assert (client.status == 200, seen.actors) == (passes, [ANONYMOUS] if passes else [])


async def test_whose_token_counts_is_handed_on() -> None:
    client, seen = await ask("Bearer ada", f"{SHOP}/orders")

    assert (client.status, seen.actors) == (200, [Actor("user", "ada")])


async def test_without_a_token_nothing_is_known() -> None:
    client, seen = await ask("", f"{SHOP}/orders")

    assert (client.status, seen.actors) == (200, [None])


async def test_a_handshake_with_a_bad_token_is_closed() -> None:
    client, seen = await ask("Bearer nonsense", f"{SHOP}/orders", kind="websocket")

    assert [message["type"] for message in client.sent] == ["websocket.close"]
    assert seen.actors == []


def test_a_parameter_is_one_segment_and_nothing_else_is_a_pattern() -> None:
    class Odd(Controller):
        path = "/a.b"

        @get("/{x:str}/c", opt=public())
        async def odd(self) -> None: ...

    routes = PublicRoutes([Odd])

    assert routes.covers("GET", "/a.b/1/c")
    assert not routes.covers("GET", "/a.b/1/2/c")
    assert not routes.covers("GET", "/aXb/1/c")
    assert not routes.covers("GET", "/a.b//c")
    assert not routes.covers("POST", "/a.b/1/c")


def test_what_a_controller_says_of_all_its_routes_and_what_it_inherits_counts() -> None:
    class Open(Controller):
        path = "/open"
        opt = public()

        @get("/all")
        async def everything(self) -> None: ...

        @get("/mine", opt=signed_in())
        async def mine(self) -> None: ...

    class Heir(Open):
        path = "/heir"

    routes = PublicRoutes([Open, Heir])

    assert [routes.covers("GET", path) for path in ("/open/all", "/heir/all", "/open/mine", "/heir/mine")] == [
        True,
        True,
        False,
        False,
    ]


async def test_a_token_is_verified_once_in_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    verify = TokenIdentity.verify

    async def counted(self: TokenIdentity, given: str) -> Actor:
        asked.append(given)
        return await verify(self, given)

    monkeypatch.setattr(TokenIdentity, "verify", counted)
    async with InProcess(tmp_path / "orion") as orion:
        person = await orion.sign_up()
        answer = await orion.http.get("/api/v1/auth/me", headers={"authorization": f"Bearer {person.access_token}"})

    assert (answer.status_code, answer.json()["id"]) == (200, str(person.id))
    assert asked == [person.access_token]
