"""The fault proxy: each fault shows as the network would show it, and healing leaves nothing behind."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from orion_core.testing.faults import FaultProxy, through


@asynccontextmanager
async def an_echo_server() -> AsyncIterator[int]:
    """A server that sends back what it gets; yields its port."""
    running: set[asyncio.Task[None]] = set()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            running.discard(task)
            await closed(writer)

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await until(lambda: not running)
        await server.wait_closed()


@asynccontextmanager
async def a_client(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        await closed(writer)


async def closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while True:
            if condition():
                return
            await asyncio.sleep(0.001)


async def says(port: int, data: bytes = b"hello") -> bytes:
    """What comes back for `data` on a new connection."""
    async with asyncio.timeout(10), a_client(port) as (reader, writer):
        writer.write(data)
        return await reader.readexactly(len(data))


async def test_data_passes_unchanged_and_the_end_of_one_direction_too() -> None:
    data = bytes(range(256)) * 8192  # more than every buffer on the way, so that back-pressure takes part
    async with an_echo_server() as port, FaultProxy("127.0.0.1", port) as proxy:
        async with asyncio.timeout(30), a_client(proxy.port) as (reader, writer):
            writer.write(data)
            writer.write_eof()
            assert await reader.read(-1) == data
        await until(lambda: proxy.connections == 0)


async def test_refused_connections_come_back_on_the_same_port() -> None:
    async with an_echo_server() as port, FaultProxy("127.0.0.1", port) as proxy:
        before = proxy.port
        async with a_client(proxy.port) as (reader, _):
            await proxy.refuse()
            assert proxy.connections == 0
            with pytest.raises(ConnectionResetError):
                await reader.read(1)
        with pytest.raises(ConnectionRefusedError):
            await says(proxy.port)
        await proxy.heal()
        assert proxy.port == before
        assert await says(proxy.port) == b"hello"


async def test_nobody_else_gets_the_port_while_connections_are_refused() -> None:
    async with an_echo_server() as port, FaultProxy("127.0.0.1", port) as proxy:
        await proxy.refuse()
        with socket.socket() as thief, pytest.raises(OSError, match="in use"):
            thief.bind(("127.0.0.1", proxy.port))


async def test_cut_resets_present_connections_and_accepts_new_ones() -> None:
    async with an_echo_server() as port, FaultProxy("127.0.0.1", port) as proxy:
        async with a_client(proxy.port) as (reader, writer):
            writer.write(b"x")
            assert await reader.read(1) == b"x"
            await proxy.cut()
            assert proxy.connections == 0
            with pytest.raises(ConnectionResetError):
                await reader.read(1)
        assert await says(proxy.port) == b"hello"


async def test_cut_reaches_a_connection_that_was_only_just_made() -> None:
    async with an_echo_server() as port, FaultProxy("127.0.0.1", port) as proxy:
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", proxy.port)) as client:
                client.setblocking(False)
                await proxy.cut()
                with pytest.raises(ConnectionResetError):
                    await asyncio.get_running_loop().sock_recv(client, 1)


async def test_a_stalled_connection_stays_open_and_answers_once_healed() -> None:
    async with (
        an_echo_server() as port,
        FaultProxy("127.0.0.1", port) as proxy,
        a_client(proxy.port) as (reader, writer),
    ):
        writer.write(b"a")
        assert await reader.read(1) == b"a"
        await proxy.stall()
        writer.write(b"b")
        async with a_client(proxy.port) as (late_reader, late_writer):
            late_writer.write(b"c")
            await until(lambda: proxy.connections == 2)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(1), 0.05)
            await proxy.heal()
            async with asyncio.timeout(10):
                assert await reader.read(1) == b"b"
                assert await late_reader.read(1) == b"c"


async def test_a_stall_makes_a_writer_wait() -> None:
    async with (
        an_echo_server() as port,
        FaultProxy("127.0.0.1", port) as proxy,
        a_client(proxy.port) as (_, writer),
    ):
        await proxy.stall()
        writer.write(b"x" * 32 * 1024 * 1024)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(writer.drain(), 0.05)
        writer.transport.abort()


async def test_delayed_data_keeps_its_order() -> None:
    async with an_echo_server() as port, FaultProxy("127.0.0.1", port) as proxy:
        await proxy.delay(0.02)
        async with asyncio.timeout(10), a_client(proxy.port) as (reader, writer):
            for number in range(100):
                writer.write(b"%03d" % number)
                await asyncio.sleep(0)
            assert await reader.readexactly(300) == b"".join(b"%03d" % number for number in range(100))


async def test_healing_frees_delayed_data_at_once() -> None:
    async with an_echo_server() as port, FaultProxy("127.0.0.1", port) as proxy:
        await proxy.delay(3600)
        async with asyncio.timeout(10), a_client(proxy.port) as (reader, writer):
            writer.write(b"x")
            await until(lambda: proxy.connections == 1)
            await proxy.heal()
            assert await reader.read(1) == b"x"


async def test_a_server_that_is_away_resets_its_clients() -> None:
    async with an_echo_server() as port:
        pass
    async with FaultProxy("127.0.0.1", port) as proxy, a_client(proxy.port) as (reader, _):
        with pytest.raises(ConnectionResetError):
            await reader.read(1)
        await until(lambda: proxy.connections == 0)


@pytest.mark.parametrize("fault", ["refuse", "cut", "stall", "heal"])
async def test_leaving_closes_what_is_open_in_every_state(fault: str) -> None:
    async with an_echo_server() as port:
        async with FaultProxy("127.0.0.1", port) as proxy:
            clients = [socket.create_connection(("127.0.0.1", proxy.port)) for _ in range(20)]
            await until(lambda: proxy.connections == 20)
            await getattr(proxy, fault)()
        for client in clients:
            client.close()
        with pytest.raises(ConnectionRefusedError):
            await says(proxy.port)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_the_port_may_be_chosen() -> None:
    async with an_echo_server() as port:
        async with FaultProxy("127.0.0.1", port) as first:
            pass
        async with FaultProxy("127.0.0.1", port, port=first.port) as second:
            assert second.port == first.port
            assert await says(second.port) == b"hello"


async def test_a_url_is_led_through_the_proxy() -> None:
    async with FaultProxy("127.0.0.1", 9) as proxy:
        found = through("postgresql://ada:p%40ss@db.example.org:5432/orion?schema=auth", proxy)
        assert found == f"postgresql://ada:p%40ss@127.0.0.1:{proxy.port}/orion?schema=auth"
        assert through("redis://localhost/0", proxy) == f"redis://127.0.0.1:{proxy.port}/0"


def test_faults_hold_on_uvloop_too() -> None:
    uvloop = pytest.importorskip("uvloop")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(test_refused_connections_come_back_on_the_same_port())
        runner.run(test_cut_resets_present_connections_and_accepts_new_ones())
        runner.run(test_a_stalled_connection_stays_open_and_answers_once_healed())
