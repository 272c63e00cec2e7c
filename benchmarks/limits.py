"""What do the rate limits cost a request?

Serves a trivial application with uvicorn, one worker each: bare, behind the two limits of the gateway in memory, and
behind the same in Redis. All requests come from one address and one person, so both limits are asked each time. The
servers take turns under 32 connections. Reported are medians of the rounds: requests per second, and the processor
time of the server per request, with the ratio to that of the bare application in the same round; on a machine with
other work the second figure is the one to trust.

    python benchmarks/limits.py [rounds] [redis url]       # 9 rounds of 1 s each on redis://127.0.0.1:6379/0
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import httpx
import uvicorn

from orion_core import serve
from orion_core.adapters import choose
from orion_core.adapters.system_clock import SystemClock
from orion_core.context import Actor
from orion_core.settings import Settings
from orion_core.testing.ports import free_ports
from orion_core.web.asgi import answer_json
from orion_core.web.edge import edge
from orion_core.web.guard import VERIFIED
from orion_plugins.gateway.rate_by_address import rate_by_address
from orion_plugins.gateway.rate_by_user import rate_by_user
from orion_plugins.gateway.settings import GatewaySettings

CONNECTIONS = 32
SECONDS = 1.0
REQUEST = b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
PERSON = Actor("user", "01a20342-f02a-7b8b-ad9c-38f0351d0b4d")
PLENTY = GatewaySettings(address_limit="1000000/1", user_limit="1000000/1")


async def trivial(scope: Any, receive: Any, send: Any) -> None:
    """Answer two bytes; /cpu answers the seconds of processor time that were used so far."""
    if scope["path"] == "/cpu":
        await answer_json(send, 200, time.process_time())
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


def application(limits_url: str) -> Any:
    """The trivial application, behind limits at `limits_url` if that is given, in the outermost layer of every host."""
    if not limits_url:
        return edge(trivial, ())
    limits = choose.open_limits(Settings(limits_url=limits_url), SystemClock())
    by_user = rate_by_user(trivial, limits, PLENTY)

    async def known(scope: Any, receive: Any, send: Any) -> None:
        scope[VERIFIED] = PERSON
        await by_user(scope, receive, send)

    return edge(rate_by_address(known, limits, PLENTY), ())


def run_server(port: int, limits_url: str) -> None:
    """Serve until the process is ended."""
    logging.getLogger("orion.access").setLevel(logging.WARNING)
    config = uvicorn.Config(
        application(limits_url), port=port, http="httptools", lifespan="off", log_config=None, access_log=False
    )
    serve.settle_memory()
    serve.run(lambda: uvicorn.Server(config).serve())


@contextlib.contextmanager
def server(limits_url: str) -> Iterator[int]:
    """A server of its own process; gives its port."""
    [port] = free_ports(1)
    process = subprocess.Popen([sys.executable, __file__, "serve", str(port), limits_url])
    try:
        yield port
    finally:
        process.terminate()
        process.wait()


class Client(asyncio.Protocol):
    """One connection that asks again as soon as it was answered."""

    def __init__(self, until: float) -> None:
        self.answers = 0
        self.failures = 0
        self.done = asyncio.get_running_loop().create_future()
        self._until = until
        self._held = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        transport.write(REQUEST)

    def data_received(self, data: bytes) -> None:
        self._held += data
        if not self._held.endswith(b"\r\n\r\nok"):
            if b" 429 " in self._held:
                self.failures += 1
                self._transport.close()
            return
        self._held = b""
        self.answers += 1
        if time.perf_counter() < self._until:
            self._transport.write(REQUEST)
        else:
            self._transport.close()

    def connection_lost(self, _: Exception | None) -> None:
        self.done.set_result(None)


async def reached(port: int) -> None:
    """Wait until the server accepts."""
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.05)


async def used(port: int) -> float:
    """Seconds of processor time that the server used so far."""
    async with httpx.AsyncClient(trust_env=False) as client:
        found: float = (await client.get(f"http://127.0.0.1:{port}/cpu")).json()
        return found


async def under_load(port: int) -> tuple[float, float]:
    """Requests per second under all connections, and microseconds of processor time for each."""
    before, loop, began = await used(port), asyncio.get_running_loop(), time.perf_counter()
    clients = [
        (await loop.create_connection(lambda: Client(began + SECONDS), "127.0.0.1", port))[1]
        for _ in range(CONNECTIONS)
    ]
    await asyncio.gather(*(client.done for client in clients))
    if any(client.failures for client in clients):
        raise RuntimeError("a request was refused: the limits of this benchmark are too low")
    answers, took = sum(client.answers for client in clients), time.perf_counter() - began
    return answers / took, (await used(port) - before) / answers * 1e6


async def measure(ports: dict[str, int], rounds: int) -> None:
    """Let the servers take turns, and print."""
    for port in ports.values():
        await reached(port)
        await under_load(port)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ports}
    for _ in range(rounds):
        for name, port in ports.items():
            found[name].append(await under_load(port))
    for name, rounds_of in found.items():
        rates, costs = zip(*rounds_of, strict=True)
        share = statistics.median(bare / cost for (_, bare), cost in zip(found["bare"], costs, strict=True))
        print(
            f"  {name:18} {statistics.median(rates):8.0f} requests/s {statistics.median(costs):8.1f} us each,"
            f" {share:5.2f} of bare by processor time"
        )


def main() -> None:
    """Measure and print."""
    if sys.argv[1:2] == ["serve"]:
        run_server(int(sys.argv[2]), sys.argv[3])
        return
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    redis = sys.argv[2] if len(sys.argv) > 2 else "redis://127.0.0.1:6379/0"
    urls = {
        "bare": "",
        "limits in memory": "memory:",
        "limits in Redis": f"{redis}?prefix=bench-{secrets.token_hex(4)}:",
    }
    with contextlib.ExitStack() as stack:
        ports = {name: stack.enter_context(server(url)) for name, url in urls.items()}
        serve.run(lambda: measure(ports, rounds))


if __name__ == "__main__":
    main()
