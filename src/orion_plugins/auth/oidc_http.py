"""Asking providers: bounded in time and bytes, no redirect followed, only addresses that are on the Internet.

The name is resolved once, every address of it is checked, and the connection goes to one of those; Host, SNI and the
certificate are those of the name. Nothing of the environment is used.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import ssl
from collections.abc import AsyncGenerator, Iterable, Mapping
from typing import Any, cast

import attrs
import httpcore
import httpx

from orion_core.contracts.auth_oidc import ProviderUnavailable

LIMIT = 256 * 1024
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@attrs.frozen
class Reply:
    """A provider's answer."""

    status: int
    body: bytes = attrs.field(repr=False)


class _Refused(Exception):
    """The address may not be called."""


class _Guarded(httpcore.AsyncNetworkBackend):
    """Connects to checked addresses alone."""

    def __init__(self, allowed: Iterable[Network], secure: bool) -> None:
        self._allowed = tuple(allowed)
        self._secure = secure
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
        # Every one must do: whoever controls the name could otherwise choose among them.
        for address in addresses:
            if not may_be_called(address, self._allowed, secure=self._secure):
                raise _Refused
        failed: Exception = OSError("the name has no address")
        for address in addresses:
            try:
                return await self._network.connect_tcp(
                    address, port, timeout, local_address, socket_options=socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
        raise failed

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.AsyncNetworkStream:
        raise _Refused

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@attrs.define
class OidcHttp:
    """Asks. `allowed` are networks that may be called too, and by http; `seconds` is what one exchange may take."""

    allowed: tuple[Network, ...] = ()
    seconds: float = 10.0
    _trust: ssl.SSLContext | None = None

    async def request(self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"") -> Reply:
        """One exchange; raises `ProviderUnavailable` for whatever the provider or the network does."""
        try:
            async with asyncio.timeout(self.seconds):
                return await self._exchange(method, httpx.URL(url), headers, body)
        except (
            _Refused,
            TimeoutError,
            OSError,
            UnicodeError,
            httpx.InvalidURL,
            httpcore.TimeoutException,
            httpcore.NetworkError,
            httpcore.ProtocolError,
            httpcore.UnsupportedProtocol,
        ) as error:
            raise ProviderUnavailable("the provider cannot be reached: try again later") from error

    async def _exchange(self, method: str, url: httpx.URL, headers: Mapping[str, str], body: bytes) -> Reply:
        if url.scheme not in ("http", "https") or not url.host or url.userinfo:
            raise _Refused
        if self._trust is None:
            self._trust = httpx.create_ssl_context(trust_env=False)
        sent = {"host": url.netloc.decode("ascii"), "accept": "application/json", **headers, "connection": "close"}
        if body:
            sent["content-length"] = str(len(body))
        where = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        guard = _Guarded(self.allowed, url.scheme == "https")
        async with (
            httpcore.AsyncConnectionPool(ssl_context=self._trust, network_backend=guard) as pool,
            pool.stream(method, where, headers=list(sent.items()), content=body) as answer,
        ):
            kept = bytearray()
            async with contextlib.aclosing(cast("AsyncGenerator[bytes, None]", answer.aiter_stream())) as chunks:
                async for chunk in chunks:
                    kept += chunk
                    if len(kept) > LIMIT:
                        raise ProviderUnavailable(f"the provider answered with more than {LIMIT} bytes")
            return Reply(answer.status, bytes(kept))


def may_be_called(text: str, allowed: Iterable[Network], *, secure: bool) -> bool:
    """Whether the address `text` is in an allowed network, or on the Internet and asked by https."""
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        elif address in _NAT64:
            address = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if any(address.version == network.version and address in network for network in allowed):
        return True
    return secure and address.is_global and not address.is_multicast
