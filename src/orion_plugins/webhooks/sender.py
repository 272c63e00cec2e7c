"""Sending: one POST to a checked address, bounded in time and in bytes.

The name is resolved once, every address of it is checked, and the connection goes to one of those; Host, SNI and the
certificate are those of the name. Nothing of the environment is used, no redirect is followed, nothing is unpacked.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import socket
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import attrs
import httpcore
import httpx

from orion_core.errors import Invalid
from orion_plugins.webhooks.addresses import is_allowed, refusal
from orion_plugins.webhooks.outcomes import Outcome
from orion_plugins.webhooks.settings import WebhooksSettings
from orion_plugins.webhooks.targets import Target, lenient, target

log = logging.getLogger("orion.webhooks")

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""All addresses of a name; raises OSError where there are none."""

READ_LIMIT = 64 * 1024
EXCERPT = 4 * 1024
HEADER_LIMIT = 16 * 1024
REFUSED = "the target may not be called"


class TargetRefused(Exception):
    """The target may not be called; the message is for the log, never for users."""


class _Guarded(httpcore.AsyncNetworkBackend):
    """Connects to checked addresses alone."""

    def __init__(self, check: Callable[[str], str | None], resolve: Resolve, seconds: float) -> None:
        self._check = check
        self._resolve = resolve
        self._seconds = seconds
        self._network = httpcore.AnyIOBackend()
        self.address = ""
        self.reached = False

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        loop = asyncio.get_running_loop()
        end = loop.time() + self._seconds
        async with asyncio.timeout_at(end):
            try:
                addresses = await self._resolve(host, port)
            except UnicodeError as error:
                raise TargetRefused(f"{host} is no name that can be resolved") from error
            if not addresses:
                raise OSError("the name has no address")
            # Every one must do: whoever controls the name could otherwise choose among them.
            for address in addresses:
                if (reason := self._check(address)) is not None:
                    raise TargetRefused(f"{host}: {reason}")
            failed: Exception | None = None
            for left, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
                self.address = address
                # An address that swallows everything must leave time for the others.
                share = max(end - loop.time(), 0) / left
                try:
                    stream = await self._network.connect_tcp(
                        address, port, share, local_address, socket_options=socket_options
                    )
                except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                    failed = error
                else:
                    self.reached = True
                    return stream
            assert failed is not None
            raise failed

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.AsyncNetworkStream:
        raise TargetRefused("a socket of this machine is no target")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@attrs.define
class Sender:
    """Makes attempts; never raises for what a receiver or the network does."""

    settings: WebhooksSettings
    resolve: Resolve
    trust: ssl.SSLContext | None = None

    async def send(self, url: str, headers: dict[str, str], body: bytes) -> Outcome:
        """POST `body` to `url`."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        allowed, ports = self.settings.allowed, self.settings.allowed_ports
        try:
            found = target(url, ports, allowed)
        except Invalid as refused:
            return _refused(refused, url, headers)
        inside_only = lenient(found, ports)

        def check(address: str) -> str | None:
            if inside_only and not is_allowed(address, allowed):
                return f"{address} is in no allowed network, so it takes https and one of the ports {ports}"
            return refusal(address, allowed)

        guard = _Guarded(check, self.resolve, self.settings.connect_timeout)
        try:
            async with asyncio.timeout(self.settings.attempt_timeout):
                outcome = await self._exchange(guard, found, headers, body)
        except TargetRefused as refused:
            return _refused(refused, url, headers)
        except (TimeoutError, httpcore.TimeoutException):
            outcome = Outcome(error="no answer in time" if guard.reached else "not reached in time")
        except socket.gaierror:
            outcome = Outcome(error="the name could not be resolved")
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as failed:
            outcome = Outcome(error=f"the connection failed: {_brief(failed)}")
        return attrs.evolve(outcome, latency_ms=round((loop.time() - began) * 1000), address=guard.address)

    async def _exchange(self, guard: _Guarded, found: Target, headers: dict[str, str], body: bytes) -> Outcome:
        if self.trust is None:
            self.trust = httpx.create_ssl_context(trust_env=False)
        where = httpcore.URL(
            scheme=b"https" if found.secure else b"http",
            host=found.host.encode(),
            port=found.port,
            target=found.path.encode(),
        )
        sent = {"host": found.authority, **headers, "content-length": str(len(body)), "connection": "close"}
        async with (
            httpcore.AsyncConnectionPool(
                ssl_context=self.trust, network_backend=guard, max_keepalive_connections=0
            ) as pool,
            pool.stream("POST", where, headers=list(sent.items()), content=body) as answer,
        ):
            return await _read(answer)


def _refused(why: Exception, url: str, headers: Mapping[str, str]) -> Outcome:
    # Path, query and user may hold secrets, so they stay out of the log.
    scheme, _, rest = url.partition("://")
    where = f"{scheme}://{re.split('[/?#]', rest, maxsplit=1)[0].rpartition('@')[2]}"
    log.warning("%s to %r was refused: %s", headers.get("webhook-id", "a message"), where, why)
    return Outcome(error=REFUSED, refused=True)


async def _read(answer: httpcore.Response) -> Outcome:
    if sum(len(name) + len(text) for name, text in answer.headers) > HEADER_LIMIT:
        return Outcome(error=f"the receiver answered with more than {HEADER_LIMIT} bytes of headers")
    given = {name.lower(): text.decode("latin-1") for name, text in answer.headers}
    kept = bytearray()
    read = 0
    # What is beyond the limit is left unread, and the connection with it.
    async with contextlib.aclosing(cast("AsyncGenerator[bytes, None]", answer.aiter_stream())) as chunks:
        async for chunk in chunks:
            read += len(chunk)
            kept += chunk[: EXCERPT - len(kept)]
            if read >= READ_LIMIT:
                break
    return Outcome(
        status=answer.status,
        excerpt=kept.decode("utf-8", "replace").replace("\x00", "\ufffd"),
        retry_after=given.get(b"retry-after", "")[:100],
        abort=given.get(b"webhook-delivery", "").strip().lower() == "abort-message",
    )


def _brief(error: Exception) -> str:
    return (str(error) or type(error).__name__)[:200]
