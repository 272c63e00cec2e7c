"""Purging shared caches: what is sent, and what counts as taken."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from orion_core.adapters.choose import open_purge
from orion_core.adapters.http_purge import HttpPurge
from orion_core.adapters.no_purge import NoPurge
from orion_core.errors import StartRefused
from orion_core.ports.purge import PurgeUnavailable
from orion_core.settings import Settings
from orion_core.testing.ports import free_ports


@asynccontextmanager
async def a_cache(status: int) -> AsyncIterator[tuple[int, list[tuple[str, dict[str, object]]]]]:
    """A cache that answers with `status`: its port, and the head and body of each order."""
    orders: list[tuple[str, dict[str, object]]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next(line for line in head.lower().splitlines() if line.startswith("content-length"))
        orders.append((head, json.loads(await reader.readexactly(int(length.partition(":")[2])))))
        writer.write(f"HTTP/1.1 {status} x\r\nlocation: http://x/\r\ncontent-length: 0\r\n\r\n".encode())
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], orders


@pytest.mark.parametrize("status", [200, 202, 204])
async def test_an_order_names_urls_and_tags(status: int) -> None:
    """T38."""
    async with a_cache(status) as (port, orders):
        purge = HttpPurge(f"http://user:secret@127.0.0.1:{port}/purge?zone=1")
        await purge.purge(urls=["https://x/a"], tags=["t"])
        await purge.purge()
        await purge.aclose()
    ((head, order),) = orders
    assert head.startswith("POST /purge?zone=1 HTTP/1.1\r\n")
    assert "authorization: basic dxnlcjpzzwnyzxq=" in head.lower()
    assert order == {"urls": ["https://x/a"], "tags": ["t"]}


@pytest.mark.parametrize("status", [301, 400, 403, 429, 500, 503])
async def test_an_order_that_is_not_taken_is_repeated_later(status: int) -> None:
    async with a_cache(status) as (port, _):
        purge = HttpPurge(f"http://user:secret@127.0.0.1:{port}/")
        with pytest.raises(PurgeUnavailable, match=str(status)):
            await purge.purge(urls=["https://x/a"])
        await purge.aclose()


async def test_a_cache_that_is_away_is_told_without_the_password() -> None:
    (port,) = free_ports(1)
    purge = HttpPurge(f"http://user:secret@127.0.0.1:{port}/")
    with pytest.raises(PurgeUnavailable) as caught:
        await purge.purge(urls=["https://x/a"])
    assert "secret" not in str(caught.value)
    await purge.aclose()


async def test_without_a_cache_nothing_happens() -> None:
    purge = await open_purge(Settings())
    assert isinstance(purge, NoPurge)
    await purge.purge(urls=["https://x/a"], tags=["t"])
    await purge.aclose()


async def test_purging_without_knowing_the_own_address_refuses_the_start() -> None:
    """T38: a cache that is told of a path only forgets nothing."""
    with pytest.raises(StartRefused, match="ORION_PUBLIC_URL"):
        await open_purge(Settings(purge_url="https://cdn.example/purge"))
    purge = await open_purge(Settings(purge_url="https://cdn.example/purge", public_url="https://x.example"))
    await purge.aclose()
