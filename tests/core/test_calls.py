"""Every way to reach a service: the same results, the same errors, the same context; and who may call at all."""

from __future__ import annotations

import abc
import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import attrs
import httpx
import jwt
import pytest

from orion_core import calls
from orion_core.calls import CallKeys, CallRouter, local, nowhere, remote, wire
from orion_core.context import ANONYMOUS, SYSTEM, Actor, Context, acting, current, use
from orion_core.contract import Contract, raises, repeatable, stub
from orion_core.errors import (
    Conflict,
    DeadlineExceeded,
    Error,
    FieldError,
    Internal,
    StartRefused,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from orion_core.ports.cache import CacheUnavailable
from orion_core.ports.database import DatabaseUnavailable
from orion_core.values import value

SECRET = "s" * 32
KEYS = CallKeys.parse(f"one:{SECRET}")
REACHES = ("local", "wire", "remote")


@value
class Order:
    """What travels."""

    id: UUID
    lines: tuple[str, ...] = ()


class Taken(Conflict):
    """Declared."""

    code = "shop.taken"


class Hidden(Conflict):
    """Not declared."""

    code = "shop.hidden"


class Odd(Error):
    """Of no category."""

    status = 418
    code = "shop.odd"


class Shop(Contract, name="shop"):
    """Does what a test wants."""

    @raises(Taken)
    @abc.abstractmethod
    async def fail(self, how: str) -> None: ...

    @abc.abstractmethod
    async def echo(self, order: Order, note: str = "none") -> Order: ...

    @repeatable
    @abc.abstractmethod
    async def count(self) -> int: ...

    @abc.abstractmethod
    async def once(self) -> int: ...

    @abc.abstractmethod
    async def who(self) -> tuple[str, ...]: ...

    @abc.abstractmethod
    async def wait(self) -> None: ...


ERRORS: dict[str, Exception] = {
    "declared": Taken("it is taken", errors=[FieldError("name", "taken", "choose another")], retry_after=2.0),
    "undeclared": Hidden("it is hidden"),
    "category": Unauthenticated("sign in"),
    "odd": Odd("the host is 10.0.0.5"),
    "defect": RuntimeError("the password is hunter2"),
    "database": DatabaseUnavailable("10.0.0.5:5432 refused the connection"),
    "cache": CacheUnavailable("Redis at 10.0.0.6:6379 is unavailable"),
}


class ShopService(Shop):
    """Does it."""

    def __init__(self) -> None:
        self.counted = 0

    async def fail(self, how: str) -> None:
        raise ERRORS[how]

    async def echo(self, order: Order, note: str = "none") -> Order:
        return order

    async def count(self) -> int:
        self.counted += 1
        return self.counted

    async def once(self) -> int:
        return await self.count()

    async def who(self) -> tuple[str, ...]:
        context = current()
        trace = context.traceparent.split("-")[1]
        return (context.actor.name, *context.actor.permissions, context.correlation_id, trace, context.client_ip)

    async def wait(self) -> None:
        await asyncio.Event().wait()


@asynccontextmanager
async def reaching(reach: str, service: Shop | None = None) -> AsyncIterator[Shop]:
    """The shop by one of its reaches."""
    kept = service or ShopService()
    router = CallRouter({"shop": kept}, KEYS)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=router)) as client:  # type: ignore[arg-type]
        call = {"local": local(kept), "wire": wire(kept), "remote": remote("shop", ["http://shop"], client, KEYS)}[
            reach
        ]
        yield stub(Shop, call, lambda: False)


@pytest.mark.parametrize("reach", REACHES)
async def test_results_are_the_same(reach: str) -> None:
    order = Order(UUID(int=5), ("ä", "\ud800"))
    async with reaching(reach) as shop:
        assert await shop.echo(order) == order
        assert await shop.echo(order=order, note="x") == order


@pytest.mark.parametrize("reach", REACHES)
@pytest.mark.parametrize(
    ("how", "cls", "code", "detail"),
    [
        ("declared", Taken, "shop.taken", "it is taken"),
        ("undeclared", Conflict, "shop.hidden", "it is hidden"),
        ("category", Unauthenticated, "unauthenticated", "sign in"),
        ("odd", Internal, "internal", "something went wrong on our side"),
        ("defect", Internal, "internal", "something went wrong on our side"),
        ("database", Unavailable, "database.unavailable", "shop lacks something that it needs"),
        ("cache", Unavailable, "cache.unavailable", "shop lacks something that it needs"),
    ],
)
async def test_errors_are_the_same(reach: str, how: str, cls: type[Error], code: str, detail: str) -> None:
    """A declared one is revived as its class, another as its category with its code kept; a defect says nothing."""
    async with reaching(reach) as shop:
        with pytest.raises(Error) as raised:
            await shop.fail(how)

    assert type(raised.value) is cls
    assert (raised.value.reported_code, raised.value.detail) == (code, detail)
    if how == "declared":
        assert raised.value.errors == (FieldError("name", "taken", "choose another"),)
        assert raised.value.retry_after == 2.0


@pytest.mark.parametrize(("how", "stack"), [("odd", True), ("defect", True), ("database", False)])
async def test_what_a_caller_is_not_told_is_in_the_log(how: str, stack: bool, caplog: pytest.LogCaptureFixture) -> None:
    async with reaching("local") as shop:
        with pytest.raises((Internal, Unavailable)):
            await shop.fail(how)

    assert [record.exc_info is not None for record in caplog.records] == [stack]
    assert str(ERRORS[how]) in caplog.text


@pytest.mark.parametrize("reach", REACHES)
async def test_the_context_travels(reach: str) -> None:
    actor = Actor("user", str(UUID(int=1)), permissions=("orders:read",))
    context = Context(actor=actor, correlation_id="c", client_ip="203.0.113.9")
    async with reaching(reach) as shop:
        with use(context):
            found = await shop.who()

    assert found == (actor.name, "orders:read", "c", context.traceparent.split("-")[1], "203.0.113.9")


@pytest.mark.parametrize("reach", REACHES)
async def test_nobody_somebody_and_a_service_stay_what_they_are(reach: str) -> None:
    actors = (ANONYMOUS, SYSTEM, Actor("service", "users", originator="user:1"))
    async with reaching(reach) as shop:
        for actor in actors:
            with acting(actor):
                assert (await shop.who())[0] == actor.name


@pytest.mark.parametrize("reach", REACHES)
async def test_a_deadline_ends_the_call(reach: str) -> None:
    async with reaching(reach) as shop:
        with use(Context(deadline=asyncio.get_running_loop().time() + 0.02)), pytest.raises(DeadlineExceeded):
            await shop.wait()


async def test_wire_makes_repeatable_calls_twice_and_others_once() -> None:
    async with reaching("wire") as shop:
        assert await shop.once() == 1
        assert await shop.count() == 3


async def test_nobody_answers_for_what_nobody_serves() -> None:
    with pytest.raises(Unavailable, match=r"shop\.count: shop is not installed"):
        await stub(Shop, nowhere("shop", "not installed"), lambda: False).count()


@asynccontextmanager
async def answering(*answers: Any) -> AsyncIterator[tuple[Shop, list[httpx.Request]]]:
    """The shop behind a host that answers so; exceptions are raised."""
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        answer = answers[min(len(seen), len(answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, httpx.Response)
        return answer

    async with httpx.AsyncClient(transport=httpx.MockTransport(handle)) as client:
        yield stub(Shop, remote("shop", ["http://one", "http://two"], client, KEYS), lambda: False), seen


async def test_a_lost_answer_is_asked_for_again_only_if_that_is_harmless() -> None:
    lost = httpx.ReadError("gone")
    async with answering(lost, httpx.Response(200, json={"result": 5})) as (shop, seen):
        assert await shop.count() == 5
        assert [request.url.host for request in seen] == ["one", "two"]
    async with answering(lost) as (shop, seen):
        with pytest.raises(Unavailable, match="it may or may not have happened"):
            await shop.once()
        assert len(seen) == 1


async def test_a_call_that_was_never_sent_is_tried_at_the_next_address() -> None:
    async with answering(httpx.ConnectError("refused"), httpx.Response(200, json={"result": 5})) as (shop, seen):
        assert await shop.once() == 5
    async with answering(httpx.ConnectError("refused")) as (shop, seen):
        with pytest.raises(Unavailable, match="shop cannot be reached"):
            await shop.once()
        assert len(seen) == 2


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(502, text="<html>bad gateway</html>"),
        httpx.Response(200, json={"result": "five"}),
        httpx.Response(200, json={"answer": 5}),
        httpx.Response(200, json=[5]),
        httpx.Response(200, json=5),
        httpx.Response(404, json=["not", "ours"]),
        httpx.Response(409, json={"status": 409, "errors": 5}),
        httpx.Response(409, json={"status": 409, "errors": ["x"]}),
    ],
)
async def test_an_answer_that_does_not_fit_is_not_blamed_on_the_callers_input(answer: httpx.Response) -> None:
    """A proxy in between, or another release: neither a 422 nor a defect of the one who called."""
    async with answering(answer) as (shop, _):
        with pytest.raises(Unavailable):
            await shop.once()


async def test_a_host_that_does_not_know_our_key_signs_nobody_out() -> None:
    """The person who asked is signed in; what is wrong is a setting of ours."""
    router = CallRouter({"shop": ShopService()}, CallKeys.parse(f"two:{'t' * 32}"))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=router)) as client:  # type: ignore[arg-type]
        shop = stub(Shop, remote("shop", ["http://shop"], client, KEYS), lambda: False)
        with pytest.raises(Unavailable, match=r"shop\.count was refused by its host"):
            await shop.count()


async def test_an_operation_that_an_older_host_lacks_is_unavailable_and_not_missing() -> None:
    router = CallRouter({}, KEYS)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=router)) as client:  # type: ignore[arg-type]
        shop = stub(Shop, remote("shop", ["http://shop"], client, KEYS), lambda: False)
        with pytest.raises(Unavailable):
            await shop.count()


# The door


def claims(**changes: Any) -> dict[str, Any]:
    """The claims of a good context."""
    now = int(time.time())
    good = {
        "aud": "shop",
        "iat": now,
        "exp": now + 60,
        "actor": attrs.asdict(SYSTEM),
        "correlation_id": "c",
        "causation_id": "",
        "traceparent": "00-" + "1" * 32 + "-" + "2" * 16 + "-01",
        "tracestate": "",
        "timeout": None,
        "client_ip": "",
        "user_agent": "",
    }
    return {name: claim for name, claim in {**good, **changes}.items() if claim is not ...}


def token(secret: str = SECRET, kid: str | None = "one", algorithm: str = "HS256", **changes: Any) -> str:
    """A context, signed."""
    return jwt.encode(claims(**changes), secret, algorithm=algorithm, headers={"kid": kid} if kid else {})


async def post(path: str, context: str | None, content: bytes = b"{}", method: str = "POST") -> httpx.Response:
    """One request to the door."""
    router = CallRouter({"shop": ShopService()}, KEYS)
    headers = {} if context is None else {b"orion-context": context.encode()}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=router), base_url="http://x") as client:  # type: ignore[arg-type]
        return await client.request(method, path, headers=headers, content=content)


async def test_the_right_key_opens_the_door() -> None:
    answer = await post("/_call/shop/count", token())

    assert (answer.status_code, answer.json()) == (200, {"result": 1})


@pytest.mark.parametrize(
    "context",
    [
        None,
        "",
        "nonsense",
        "é",
        "a.b.c",
        token(secret="w" * 32),
        token(kid=None),
        token(kid="two"),
        token(aud="users"),
        token(aud=...),
        token(exp=...),
        token(iat=...),
        token(exp=int(time.time()) - 31),
        token(secret="", algorithm="none"),
        token(secret=SECRET * 2, algorithm="HS512"),
        token(actor=...),
        token(actor={"kind": "god"}),
        token(actor={"kind": "user", "id": 5}),
        token(actor="system"),
        token(traceparent=5),
        token(timeout="long"),
    ],
)
async def test_any_other_context_is_refused_before_anything_is_looked_at(context: str | None) -> None:
    """Anonymous included; a stranger does not even learn what is served here."""
    for path in ("/_call/shop/count", "/_call/nothing/here", "/_call/", "/_call/shop"):
        answer = await post(path, context)
        assert (answer.status_code, answer.json()["code"]) == (401, "call.refused"), path


async def test_a_context_for_one_service_does_not_open_another() -> None:
    assert (await post("/_call/users/get", token(aud="shop"))).status_code == 401


async def test_members_that_a_newer_release_sends_are_passed_over() -> None:
    """Hosts of two releases run side by side while one replaces the other."""
    actor = {**attrs.asdict(Actor("user", str(UUID(int=1)))), "tenant": "x"}

    assert (await post("/_call/shop/who", token(actor=actor, more=1))).status_code == 200


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/_call/shop/nothing", "POST"),
        ("/_call/shop/", "POST"),
        ("/_call/shop/__init__", "POST"),
        ("/_call/shop/count/more", "POST"),
        ("/_call/shop/count", "GET"),
    ],
)
async def test_only_operations_can_be_called(path: str, method: str) -> None:
    answer = await post(path, token(), method=method)

    assert (answer.status_code, answer.json()["code"]) == (404, "call.no_such_operation")


@pytest.mark.parametrize(
    ("content", "status", "fields"),
    [
        (b"", 400, []),
        (b"nonsense", 400, []),
        (b"[" * 100_000, 400, []),
        (b"[]", 422, []),
        (b"{}", 422, []),
        (b'{"order": 5}', 422, ["order"]),
        (b'{"order": {"id": "x"}}', 422, ["order.id"]),
        (b'{"order": {}, "note": 5}', 422, ["order.id"]),
        (b'{"order": {"id": "00000000-0000-0000-0000-000000000001"}, "note": 5}', 422, ["note"]),
        (b'{"order": {"id": "00000000-0000-0000-0000-000000000001"}, "later": 5}', 200, []),
    ],
)
async def test_arguments_are_read_strictly(content: bytes, status: int, fields: list[str]) -> None:
    answer = await post("/_call/shop/echo", token(), content)

    assert answer.status_code == status, answer.text
    assert [item["field"] for item in answer.json().get("errors", [])] == fields


async def test_too_much_is_refused_on_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "MAX_PAYLOAD", 100)
    answer = await post("/_call/shop/echo", token(), b"{" + b" " * 100)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    async with reaching("remote") as shop:
        with pytest.raises(TooLarge):
            # Counted in bytes, not in characters.
            await shop.echo(Order(UUID(int=1), ("€" * 20,)))


@pytest.mark.parametrize("text", ["one", "one:", f":{SECRET}", "one:short", f"one:{SECRET},two:short"])
def test_a_key_that_could_be_guessed_refuses_the_start(text: str) -> None:
    with pytest.raises(StartRefused, match="at least 32 characters") as refused:
        CallKeys.parse(text)

    assert SECRET not in str(refused.value)


async def test_an_old_key_opens_the_door_while_the_new_one_signs() -> None:
    both = CallKeys.parse(f"new:{'n' * 32}, one:{SECRET}")

    assert jwt.get_unverified_header(both.sign(Context(), "shop"))["kid"] == "new"
    assert both.read(token(), "shop").actor == SYSTEM
    assert SECRET not in repr(both)
    assert not CallKeys.parse("")


async def test_what_an_api_key_is_limited_to_travels_with_it() -> None:
    """A53: without its scopes a key would be the person, one process further."""
    keys = CallKeys({"k": "x" * 32})
    person = Actor("user", str(UUID(int=1)), session="key:1", permissions=("orders:read",), granted=True)
    for scopes in (None, (), ("own:read", "orders:read")):
        actor = attrs.evolve(person, scopes=scopes)
        assert keys.read(keys.sign(Context(actor=actor), "shop"), "shop").actor == actor
