"""All ways to reach a service, on one page.

=======  =============================================================================================================
local    the service is in this process: its method is called
wire     the same, but arguments, result and errors pass through the codec, and `@repeatable` calls are made twice
remote   the service is in another process: ``POST /_call/{service}/{operation}`` with a JSON object of arguments
nowhere  nobody serves it: every call raises `Unavailable`
=======  =============================================================================================================

A caller cannot tell them apart. The context travels as a JWT signed with `ORION_CALL_KEY` in the header Orion-Context;
it lives 60 seconds and is made for one service.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import attrs
import httpx
import jwt

from orion_core import codec
from orion_core.context import Actor, Context, child_traceparent, current, use
from orion_core.contract import Call, Contract, Operation, as_declared, contract_of, operations
from orion_core.errors import (
    DeadlineExceeded,
    Error,
    Internal,
    Invalid,
    Malformed,
    NotFound,
    StartRefused,
    TooLarge,
    Unauthenticated,
    Unavailable,
    problem,
    revive,
)

log = logging.getLogger("orion.calls")

MAX_PAYLOAD = 8 * 1024 * 1024
LIFETIME = 60
TIMEOUT = 30.0
HEADER = "orion-context"
PREFIX = "/_call/"

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


async def perform(service: Contract, operation: Operation, args: dict[str, Any]) -> Any:
    """Run `operation` of `service`; what it raises becomes an error that its callers know."""
    try:
        deadline = current().deadline
        if deadline is None:
            return await getattr(service, operation.name)(**args)
        async with asyncio.timeout_at(deadline):
            return await getattr(service, operation.name)(**args)
    except Error as error:
        seen = as_declared(error, operation)
        if seen is error:
            raise
        if error.private:
            log.warning("%s.%s failed: %s", operation.contract, operation.name, error.detail)
        elif isinstance(seen, Internal):
            log.exception("%s.%s failed", operation.contract, operation.name)
        raise seen from error
    except TimeoutError as error:
        raise DeadlineExceeded(f"{operation.contract}.{operation.name} took too long") from error
    except Exception as error:
        log.exception("%s.%s failed", operation.contract, operation.name)
        raise Internal("something went wrong on our side") from error


def local(service: Contract) -> Call:
    """Reach a service of this process."""

    async def call(operation: Operation, args: dict[str, Any]) -> Any:
        return await perform(service, operation, args)

    return call


def wire(service: Contract) -> Call:
    """Reach a service of this process as if it were far away; `@repeatable` operations are called twice."""

    async def call(operation: Operation, args: dict[str, Any]) -> Any:
        payload = encode_args(operation, args)
        try:
            for _ in range(1 + operation.repeatable):
                result = await perform(service, operation, decode_args(operation, payload))
        except Error as error:
            document = json.loads(json.dumps(problem(error)))
            raise revive(document, operation.declared) from None
        return codec.loads(codec.dumps(result, operation.result), operation.result)

    return call


def nowhere(name: str, why: str) -> Call:
    """Nobody serves the contract `name`."""

    async def call(operation: Operation, args: dict[str, Any]) -> Any:
        raise Unavailable(f"{operation.contract}.{operation.name}: {name} is {why}", retry_after=5)

    return call


def encode_args(operation: Operation, args: Mapping[str, Any]) -> bytes:
    """The arguments as a JSON object; raises `TooLarge`."""
    plain = {name: codec.to_plain(argument, operation.parameters[name]) for name, argument in args.items()}
    # Python's own JSON takes surrogates back that plain UTF-8 refuses.
    payload = codec.text(plain).encode("utf-8", "surrogatepass")
    if len(payload) > MAX_PAYLOAD:
        raise TooLarge(f"the arguments of {operation.contract}.{operation.name} take more than {MAX_PAYLOAD} bytes")
    return payload


def decode_args(operation: Operation, payload: str | bytes) -> dict[str, Any]:
    """The arguments from a JSON object; raises `Malformed` and `Invalid`."""
    try:
        plain = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"not JSON: {error}") from error
    if not isinstance(plain, dict):
        raise Invalid("the arguments must be a JSON object")
    given = {}
    for name, kind in operation.parameters.items():
        if name in plain:
            try:
                given[name] = codec.from_plain(plain[name], kind)
            except Invalid as error:
                raise _within(name, error) from error
    try:
        return operation.bind((), given)
    except TypeError as error:
        raise Invalid(f"{operation.contract}.{operation.name}: {error}") from error


def _within(name: str, error: Invalid) -> Invalid:
    items = [attrs.evolve(item, field=f"{name}.{item.field}" if item.field else name) for item in error.errors]
    return Invalid("; ".join(f"{item.field}: {item.detail}" for item in items), errors=items)


class CallRefused(Unauthenticated):
    """The host that was called does not know the key; the caller's host is at fault, not the person who asks."""

    code = "call.refused"


class NoSuchOperation(NotFound):
    """The host that was called does not serve this, perhaps because it runs an older release."""

    code = "call.no_such_operation"


@attrs.frozen
class CallKeys:
    """The secrets that sign calls between hosts, by id; the first one signs."""

    _keys: Mapping[str, bytes] = attrs.field(repr=False)

    @classmethod
    def parse(cls, text: str) -> CallKeys:
        """Read ``kid:secret,kid:secret``; raises `StartRefused` for secrets below 256 bits."""
        keys = {}
        for part in filter(None, (each.strip() for each in text.split(","))):
            kid, colon, secret = part.partition(":")
            if not colon or not kid or len(secret) < 32:
                raise StartRefused(["ORION_CALL_KEY must be kid:secret,… with secrets of at least 32 characters each"])
            keys[kid] = secret.encode()
        return cls(keys)

    def __bool__(self) -> bool:
        return bool(self._keys)

    def sign(self, context: Context, service: str) -> str:
        """The context as a JWT for `service`."""
        now = int(time.time())
        kid, secret = next(iter(self._keys.items()))
        remaining = None if context.deadline is None else context.deadline - asyncio.get_running_loop().time()
        claims = {
            "aud": service,
            "iat": now,
            "exp": now + LIFETIME,
            "actor": attrs.asdict(context.actor),
            "correlation_id": context.correlation_id,
            "causation_id": context.causation_id,
            "traceparent": child_traceparent(context.traceparent),
            "tracestate": context.tracestate,
            "timeout": remaining,
            "client_ip": context.client_ip,
            "user_agent": context.user_agent,
        }
        return jwt.encode(claims, secret, algorithm="HS256", headers={"kid": kid})

    def read(self, token: str, service: str) -> Context:
        """The context in a JWT made for `service`; raises `Unauthenticated`."""
        try:
            secret = self._keys[jwt.get_unverified_header(token)["kid"]]
            claims = jwt.decode(
                token,
                secret,
                algorithms=["HS256"],
                audience=service,
                leeway=30,
                options={"require": ["exp", "iat", "aud"]},
            )
        except (jwt.PyJWTError, KeyError) as error:
            raise CallRefused("Orion-Context is missing, expired or signed with an unknown key") from error
        try:
            # Members that a newer release adds are passed over.
            sent = codec.from_plain(claims, _Sent)
        except Invalid as error:
            raise CallRefused(f"Orion-Context does not fit: {error.detail}") from error
        now = asyncio.get_running_loop().time()
        return Context(
            actor=sent.actor,
            correlation_id=sent.correlation_id,
            causation_id=sent.causation_id,
            traceparent=sent.traceparent,
            tracestate=sent.tracestate,
            deadline=None if sent.timeout is None else now + max(0.0, sent.timeout),
            client_ip=sent.client_ip,
            user_agent=sent.user_agent,
        )


@attrs.frozen
class _Sent:
    """The claims that make a context."""

    actor: Actor
    correlation_id: str
    causation_id: str
    traceparent: str
    tracestate: str
    timeout: float | None
    client_ip: str
    user_agent: str


def remote(name: str, urls: Sequence[str], client: httpx.AsyncClient, keys: CallKeys) -> Call:
    """Reach the service `name` at one of `urls`, in turn; a repeatable call that got no answer is made once more."""
    turns = itertools.cycle(urls)

    async def once(operation: Operation, payload: bytes) -> Any:
        context = current()
        left = TIMEOUT
        if context.deadline is not None:
            left = min(left, context.deadline - asyncio.get_running_loop().time())
        headers = {"content-type": "application/json", HEADER: keys.sign(context, name)}
        try:
            async with asyncio.timeout(left):
                answer = await client.post(
                    f"{next(turns)}{PREFIX}{name}/{operation.name}", content=payload, headers=headers
                )
        except TimeoutError as error:
            raise DeadlineExceeded(f"{name} gave no answer to {operation.name} in time") from error
        except httpx.HTTPError as error:
            raise _NoAnswer(sent=not isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout))) from error
        return _result(operation, answer)

    async def call(operation: Operation, args: dict[str, Any]) -> Any:
        payload = encode_args(operation, args)
        try:
            return await once(operation, payload)
        except _NoAnswer as lost:
            if lost.sent and not operation.repeatable:
                raise Unavailable(f"{name} did not answer {operation.name}: it may or may not have happened") from lost
        try:
            return await once(operation, payload)
        except _NoAnswer as lost:
            raise Unavailable(f"{name} cannot be reached") from lost

    return call


class _NoAnswer(Exception):
    def __init__(self, *, sent: bool) -> None:
        super().__init__()
        self.sent = sent


def _result(operation: Operation, answer: httpx.Response) -> Any:
    where = f"{operation.contract}.{operation.name}"
    try:
        document = answer.json()
        if answer.status_code == 200:
            return codec.from_plain(document["result"], operation.result)
        error = revive(document, operation.declared)
    except (ValueError, TypeError, KeyError, AttributeError) as misfit:
        # A proxy in between, or another release: nothing that the caller's input could be blamed for.
        log.exception("the answer to %s does not fit (status %d)", where, answer.status_code)
        raise Unavailable(f"the answer to {where} cannot be understood: it may or may not have happened") from misfit
    if error.reported_code in (CallRefused.code, NoSuchOperation.code):
        log.error("%s was refused by its host: %s", where, error.detail)
        raise Unavailable(f"{where} was refused by its host") from error
    raise error


class CallRouter:
    """The ASGI application behind ``/_call``: the `services` of this process, by name, for callers in others."""

    def __init__(self, services: Mapping[str, Contract], keys: CallKeys) -> None:
        self._services = services
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            status, document = 200, await self._answer(scope, receive)
        except Error as error:
            status, document = error.status, json.dumps(problem(error))
        body = document.encode("utf-8", "surrogatepass")
        kind = b"application/json" if status == 200 else b"application/problem+json"
        headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: Scope, receive: Receive) -> str:
        name, _, wanted = scope["path"][len(PREFIX) :].partition("/")
        token = next((text.decode("latin-1") for key, text in scope["headers"] if key == HEADER.encode()), "")
        # The key is checked first: a stranger does not learn what is served here.
        context = self._keys.read(token, name)
        service = self._services.get(name)
        operation = None if service is None else operations(contract_of(type(service))).get(wanted)
        if service is None or operation is None or scope["method"] != "POST":
            raise NoSuchOperation(f"no operation {name}.{wanted} here")
        payload = await _body(receive)
        with use(context):
            result = await perform(service, operation, decode_args(operation, payload))
        return f'{{"result":{codec.dumps(result, operation.result)}}}'


async def _body(receive: Receive) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Malformed("the caller left before its arguments arrived")
        part = message.get("body", b"")
        size += len(part)
        if size > MAX_PAYLOAD:
            raise TooLarge(f"arguments take more than {MAX_PAYLOAD} bytes")
        parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts)
