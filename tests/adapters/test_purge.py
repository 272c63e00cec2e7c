"""Purging shared caches: what is sent, and what counts as taken."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from orion_core.adapters.cache_purge import CachePurge
from orion_core.adapters.choose import open_purge
from orion_core.adapters.http_purge import HttpPurge
from orion_core.adapters.memory_cache import MemoryCache
from orion_core.errors import StartRefused
from orion_core.ports.purge import PurgeUnavailable
from orion_core.purge_marks import LONGEST, PurgeMarks, path_of
from orion_core.settings import Settings
from orion_core.testing.clock import MovableClock
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


async def test_purging_without_knowing_the_own_address_refuses_the_start() -> None:
    """T38: a cache that is told of a path only forgets nothing."""
    clock = MovableClock()
    cache = MemoryCache(clock)
    with pytest.raises(StartRefused, match="ORION_PUBLIC_URL"):
        await open_purge(Settings(purge_url="https://cdn.example/purge"), cache, clock)
    settings = Settings(purge_url="https://cdn.example/purge", public_url="https://x.example")
    purge = await open_purge(settings, cache, clock)
    await purge.aclose()


async def test_the_gateways_cache_and_the_cdn_behind_it_are_both_told() -> None:
    """G70, T38."""
    clock = MovableClock()
    marks = PurgeMarks(MemoryCache(clock), clock)
    async with a_cache(204) as (port, orders):
        purge = CachePurge(marks, HttpPurge(f"http://127.0.0.1:{port}/"))
        await purge.purge(urls=["https://x.example/a%20b?v=1"], tags=["t"])
        await purge.aclose()
    now = marks.now_ms()

    assert [await marks.newest(path, tags) > now for path, tags in (("/a b", ()), ("/c", ("t",)), ("/c", ()))] == [
        True,
        True,
        False,
    ]
    assert orders[0][1] == {"urls": ["https://x.example/a%20b?v=1"], "tags": ["t"]}


async def test_a_mark_lasts_as_long_as_anything_may_be_stored() -> None:
    """G70: afterwards there is nothing left that it could forbid."""
    clock = MovableClock()
    marks = PurgeMarks(MemoryCache(clock), clock)
    await marks.purge(paths=["/a"])
    clock.advance(timedelta(seconds=LONGEST))
    assert await marks.newest("/a", ()) > 0
    clock.advance(timedelta(seconds=10))
    assert await marks.newest("/a", ()) == 0


async def test_an_order_is_repeated_later_while_the_cache_is_away() -> None:
    """G70: the job that purges tries again."""
    clock = MovableClock()
    cache = MemoryCache(clock)
    await cache.aclose()
    with pytest.raises(PurgeUnavailable):
        await CachePurge(PurgeMarks(cache, clock)).purge(tags=["t"])


@pytest.mark.parametrize(("url", "path"), [("https://x", "/"), ("/a%2520b", "/a%20b"), ("https://x/%C3%A4#f", "/ä")])
def test_of_an_address_the_decoded_path_counts(url: str, path: str) -> None:
    assert path_of(url) == path


@pytest.mark.parametrize("url", ["", "a/b", "mailto:a@b"])
def test_an_address_without_a_path_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="write it as"):
        path_of(url)
