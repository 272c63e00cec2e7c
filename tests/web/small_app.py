"""A host with a few routes of its own, and a client for any ASGI application."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import attrs
import httpx
from litestar import Controller, get, patch, post, put
from litestar.params import FromPath, FromQuery, JSONBody

from orion_core.context import Actor, current
from orion_core.errors import Conflict, TooMany, Unauthenticated, Unavailable
from orion_core.validators import between, is_email, max_len, min_len
from orion_core.values import value
from orion_core.web import Limit, needs, public, signed_in
from orion_core.web.app import build, face
from orion_core.web.client_ip import networks
from orion_core.web.edge import edge

ADA = "01a20342-f02a-7b8b-ad9c-38f0351d0b4d"
MAX_BODY = 10_000


@value
class Line:
    """One line of an order."""

    article: str
    count: int = attrs.field(validator=between(1, 99))


@value
class Order:
    """What somebody orders."""

    email: str = attrs.field(validator=is_email)
    lines: tuple[Line, ...]
    note: str = attrs.field(default="", validator=[min_len(0), max_len(20)])


class SoldOut(Conflict):
    """The last one is gone."""

    code = "shop.sold_out"


class ShopRoutes(Controller):
    """Routes that behave, and routes that do not."""

    path = "/api/v1/shop"
    tags = ("shop",)

    @get("/whoami", opt=public())
    async def whoami(self) -> dict[str, str]:
        """Say who asks."""
        context = current()
        return {
            "actor": context.actor.name,
            "correlation_id": context.correlation_id,
            "traceparent": context.traceparent,
            "client_ip": context.client_ip,
        }

    @get("/mine", opt=signed_in())
    async def mine(self) -> dict[str, str]:
        """Say it to people only."""
        return {"actor": current().actor.name}

    @get("/all", opt=needs("orders:read"))
    async def all(self) -> dict[str, str]:
        """Say it to those who may."""
        return {"actor": current().actor.name}

    @post("/orders", opt=public())
    async def order(self, data: JSONBody[Order]) -> Order:
        """Take an order."""
        return data

    @patch("/orders/{order:uuid}", opt=public())
    async def change(self, order: FromPath[UUID], data: JSONBody[Line]) -> Line:
        """Change one line."""
        return data

    @get("/pages", opt=public())
    async def pages(self, limit: Limit = 50, word: FromQuery[str] = "") -> dict[str, Any]:
        """Count."""
        return {"limit": limit, "word": word}

    @put("/known/{what:str}", opt=public())
    async def known(self, what: FromPath[str]) -> None:
        """Fail on purpose."""
        raise {
            "sold-out": SoldOut("the last one is gone"),
            "slow-down": TooMany("ask later", retry_after=1.2),
            "away": Unavailable("the shop is closed", retry_after=0.1),
        }[what]

    @get("/broken", opt=public())
    async def broken(self) -> None:
        """Fail by a defect."""
        raise RuntimeError("the password is hunter2")


class Tokens:
    """An `Identity` that knows three tokens, and API keys of hers like ``key-~own-read``."""

    async def verify(self, token: str) -> Actor:
        if token == "away":
            raise Unavailable("nobody can say")
        if token.startswith("key-"):
            scopes = tuple("*" if each == "all" else each.replace("-", ":") for each in token.split("~")[1:])
            held = tuple(each for each in scopes if each.startswith("orders"))
            return Actor("user", ADA, session="key:1", permissions=held, scopes=scopes)
        if token not in ("ada", "admin"):
            raise Unauthenticated("the access token does not count")
        return Actor("user", ADA, permissions=("orders:*",) if token == "admin" else ())


def shop(routes: Sequence[type] = (ShopRoutes,), trusted: Sequence[str] = (), docs: bool = True) -> Any:
    """The application of a host with `routes`."""
    made = build(routes, {}, Tokens(), version="1.0", docs=docs, max_body=MAX_BODY)
    return edge(face(made, max_body=MAX_BODY), networks(trusted))


@asynccontextmanager
async def browser(app: Any, peer: str = "203.0.113.9") -> AsyncIterator[httpx.AsyncClient]:
    """A client whose connection comes from `peer`."""
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False, client=(peer, 40_000))
    async with httpx.AsyncClient(transport=transport, base_url="http://shop.test") as client:
        yield client


def bearer(token: str) -> dict[str, str]:
    """The header that carries `token`."""
    return {"authorization": f"Bearer {token}"}
