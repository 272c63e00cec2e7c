"""The servers of the benchmark of the front door, each a process on loopback.

    python benchmarks/front_door_servers.py origin | bare-proxy | litestar | orion PORT [...]

serves one of those that are only a few lines of Python; the others are `orion run` and what is in benchmarks/peers/.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import logging
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from front_door_load import LOAD, SERVERS, pin

from orion_core.testing.ports import free_ports

PEERS: Final = Path(__file__).parent / "peers"
PATIENCE: Final = 60.0
"""Seconds for a server to accept connections."""
PLENTY: Final = {
    "ORION_GATEWAY_ADDRESS_LIMIT": "1000000/1",
    "ORION_GATEWAY_USER_LIMIT": "1000000/1",
    "ORION_GATEWAY_LOGIN_LIMIT": "1000000/1",
}
"""Limits that are counted and never reached."""
_ANSWER: Final = b'{"id": "01a20342-f02a-7b8b-ad9c-38f0351d0b4d", "name": "Ada", "email": "ada@example.org"}'
_HEAD: Final = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n" % len(_ANSWER)


# Starting them


@contextlib.contextmanager
def running(
    command: list[str], port: int, log: Path, env: Mapping[str, str] | None = None, core: int | None = SERVERS
) -> Iterator[str]:
    """Start `command` and give the URL at which it answers; `core` is where it stays, None for all."""
    clean = {name: text for name, text in os.environ.items() if not name.startswith("ORION_")}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env={**clean, **(env or {})}, cwd=log.parent, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        _reached(process, port, log)
        if core is not None:
            pin(process.pid, core)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _reached(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"{log.stem} did not start:\n{log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.05)


def origin(folder: Path) -> contextlib.AbstractContextManager[str]:
    """What the proxies ask: answers the same bytes at once, on the core of the load."""
    return _own("origin", folder, core=LOAD)


def bare_proxy(folder: Path, target: str) -> contextlib.AbstractContextManager[str]:
    """The gateway's proxy and client as an application of their own, without any layer around them."""
    return _own("bare-proxy", folder, target)


def litestar(folder: Path) -> contextlib.AbstractContextManager[str]:
    """A handler of Litestar and nothing else."""
    return _own("litestar", folder)


def orion_without_database(folder: Path) -> contextlib.AbstractContextManager[str]:
    """A host with auth, the gateway, and a route for signed-in people that asks nobody."""
    return _own("orion", folder, str(folder / "data"), env={**PLENTY, "ORION_LIMITS_URL": "memory:"})


def _own(
    what: str, folder: Path, *more: str, core: int = SERVERS, env: Mapping[str, str] | None = None
) -> contextlib.AbstractContextManager[str]:
    [port] = free_ports(1)
    return running([sys.executable, __file__, what, str(port), *more], port, folder / f"{what}.log", env, core)


def orion(
    folder: Path,
    name: str,
    services: tuple[str, ...],
    *,
    upstream: str = "",
    limits: str = "memory:",
    core: int | None = SERVERS,
) -> contextlib.AbstractContextManager[str]:
    """`orion run` with SQLite; with `upstream`, /bench goes there."""
    [port] = free_ports(1)
    data = folder / name
    data.mkdir()
    env = {
        **PLENTY,
        "ORION_DATA_DIR": str(data),
        "ORION_PORT": str(port),
        "ORION_LIMITS_URL": limits,
        "ORION_LOG_FORMAT": "json",
    }
    if upstream:
        env["ORION_GATEWAY_UPSTREAMS"] = json.dumps({"bench": {"prefix": "/bench", "urls": [upstream]}})
    return running([sys.executable, "-m", "orion_core.cli", "run", *services], port, folder / f"{name}.log", env, core)


def node(folder: Path, peer: str, program: str, **env: str) -> contextlib.AbstractContextManager[str]:
    """One program of a peer on NestJS, installed and compiled first if it is not yet."""
    home = PEERS / peer
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise SystemExit("node and npm are missing: the peers on NestJS need version 20 or later")
    if not (home / "node_modules").exists():
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=home, check=True, timeout=600)
    subprocess.run(["npm", "run", "--silent", "build"], cwd=home, check=True, timeout=120)
    [port] = free_ports(1)
    log = folder / f"{peer}-{program}-{secrets.token_hex(2)}.log"
    production = {"NODE_ENV": "production", "PORT": str(port), **env}
    return running(["node", str(home / "dist" / f"{program}.js")], port, log, production)


def fastapi_users(folder: Path) -> contextlib.AbstractContextManager[str]:
    """The application of benchmarks/peers/fastapi_users under uvicorn, one worker."""
    [port] = free_ports(1)
    command = [
        sys.executable, "-m", "uvicorn", "app:app", "--app-dir", str(PEERS / "fastapi_users"), "--port", str(port),
        "--no-access-log",
    ]  # fmt: skip
    return running(command, port, folder / "fastapi-users.log", {"DATABASE": str(folder / "fastapi-users.db")})


# Being one of them


class _Origin(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._held = b""

    def data_received(self, data: bytes) -> None:
        self._held += data
        while (end := self._held.find(b"\r\n\r\n")) >= 0:
            # A request without a body: nothing else is asked here.
            closing = b"connection: close" in self._held[:end].lower()
            self._held = self._held[end + 4 :]
            self._transport.write(_HEAD + (b"connection: close\r\n\r\n" if closing else b"\r\n") + _ANSWER)
            if closing:
                self._transport.close()


async def _serve_origin(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(_Origin, "127.0.0.1", port)
    await server.serve_forever()


def _serve_application(app: Any, port: int) -> None:
    import uvicorn

    from orion_core import serve

    config = uvicorn.Config(
        app, port=port, http="httptools", lifespan="off", log_config=None, access_log=False, server_header=False
    )
    serve.settle_memory()
    serve.run(lambda: uvicorn.Server(config).serve())


def _bare_proxy(target: str) -> Any:
    from orion_core.context import Context, new_traceparent, use
    from orion_plugins.gateway.pool import Pool
    from orion_plugins.gateway.proxy import Proxy

    context = Context(correlation_id="bench", traceparent=new_traceparent())
    proxies: list[Proxy] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if not proxies:  # there is a loop only now
            proxies.append(Proxy(Pool(target), service="bench"))
        with use(context):
            await proxies[0](scope, receive, send)

    return app


def _litestar() -> Any:
    from litestar import Litestar, get

    @get("/api/v1/echo/me")
    async def me() -> dict[str, str]:
        return {"id": "01a20342-f02a-7b8b-ad9c-38f0351d0b4d", "name": "Ada"}

    return Litestar(route_handlers=[me], logging_config=None, openapi_config=None)


def _serve_orion(port: int, data: str) -> None:
    from litestar import Controller, get

    from orion_core import serve
    from orion_core.context import current
    from orion_core.observability import logging as observed
    from orion_core.platform import Platform
    from orion_core.plugin import Plugin, discover
    from orion_core.settings import load
    from orion_core.web import signed_in

    class EchoRoutes(Controller):
        """Who asks."""

        path = "/api/v1/echo"

        @get("/me", opt=signed_in(), operation_id="echo_me", summary="Read who you are")
        async def me(self) -> dict[str, str]:
            """Your id."""
            return {"id": current().actor.id, "name": "Ada"}

    kinds = {name: plugin.settings for name, plugin in discover().plugins.items()}
    settings = load({**_orion_env(), "ORION_DATA_DIR": data, "ORION_LOG_FORMAT": "json"}, kinds)
    observed.setup(settings.log_level, settings.log_format, "")
    echo = Plugin("echo", routes=[EchoRoutes])
    platform = Platform.load("auth", "gateway", "echo", settings=settings, plugins=[echo])
    serve.run(functools.partial(serve.serve, platform, serve.bind("127.0.0.1", port)))


def _orion_env() -> dict[str, str]:
    return {name: text for name, text in os.environ.items() if name.startswith("ORION_")}


def main() -> None:
    """Serve until ended."""
    what, port, *more = sys.argv[1:]
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    if what == "origin":
        from orion_core import serve

        serve.run(lambda: _serve_origin(int(port)))
    elif what == "orion":
        _serve_orion(int(port), more[0])
    else:
        _serve_application(_litestar() if what == "litestar" else _bare_proxy(more[0]), int(port))


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
