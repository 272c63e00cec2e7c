"""Serve a platform over HTTP with uvicorn: the port, the signals, a graceful end, and the collector's settings."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import math
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn

from orion_core.errors import StartRefused
from orion_core.platform import Platform
from orion_core.web.asgi import App, Message, Receive, Scope, Send
from orion_core.web.framing import Limits
from orion_core.web.protocol import protocol

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers; calls `listening` once connections are accepted."""

    def __init__(self, config: uvicorn.Config, listening: Callable[[], None]) -> None:
        super().__init__(config)
        self._listening = listening
        self._drained_at = math.inf

    def drain(self, seconds: float) -> None:
        """End after `seconds`, in which everything is still answered."""
        self._drained_at = asyncio.get_running_loop().time() + seconds
        self.should_exit = seconds <= 0

    async def on_tick(self, counter: int) -> bool:
        # uvicorn's own beat, ten times a second.
        if asyncio.get_running_loop().time() >= self._drained_at:
            self.should_exit = True
        return await super().on_tick(counter)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn would raise the signal again after its end, so that the process died of it instead of exiting with 0.
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self._listening()


def bind(host: str, port: int) -> socket.socket:
    """A socket that owns `port` and does not accept yet; raises `StartRefused` when the port cannot be had."""
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise refused(host, port, error) from error
    except OverflowError as error:
        bound.close()
        raise StartRefused(
            [f"the port {port} does not exist: choose one below 65536 with ORION_PORT or --port"]
        ) from error
    return bound


def refused(host: str, port: int, error: OSError) -> StartRefused:
    """Why `port` cannot be had, and what to do about it."""
    if error.errno == errno.EADDRINUSE:
        return StartRefused([f"the port {port} on {host} is in use: stop what uses it, or set ORION_PORT or --port"])
    if error.errno in (errno.EACCES, errno.EPERM):
        return StartRefused([f"the port {port} needs more rights: choose one above 1023 with ORION_PORT or --port"])
    return StartRefused([f"{host}:{port} cannot be listened on ({error.strerror}): set ORION_HOST and ORION_PORT"])


def closing(app: App, draining: Callable[[], bool]) -> App:
    """`app`, whose answers tell clients to close their connections while `draining` (RFC 9112, section 9.6).

    So nobody sends a request into a connection that is about to be closed, which he could not repeat safely.
    """

    async def layer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not draining():
            await app(scope, receive, send)
            return

        async def telling(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
            await send(message)

        await app(scope, receive, telling)

    return layer


def server(platform: Platform, listening: Callable[[], None]) -> _Server:
    """uvicorn for `platform`, which must be open: one worker, no proxy headers, no server header, no access log."""
    settings = platform.settings
    limits = Limits(
        header_timeout=settings.header_timeout,
        body_timeout=settings.body_timeout,
        request_timeout=settings.request_timeout,
    )
    config = uvicorn.Config(
        closing(platform.asgi(), lambda: platform.health.draining),
        http=protocol(limits),
        ws="websockets-sansio",
        ws_max_size=settings.max_body,
        ws_per_message_deflate=False,  # messages are counted as they come, and none grows on the way in
        interface="asgi3",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        workers=1,
        # Longer than clients keep unused connections (httpx: 5 s), or a request meets the end of one now and then.
        timeout_keep_alive=15,
        timeout_graceful_shutdown=max(1, math.ceil(settings.shutdown_grace)),
    )
    return _Server(config, listening)


async def serve(
    platform: Platform,
    bound: socket.socket,
    *,
    listening: Callable[[], None] = lambda: None,
    ended: Callable[[Callable[[], None]], None] = lambda stop: None,
) -> None:
    """Open `platform`, answer on `bound`, and close it after SIGINT, SIGTERM or when what `ended` was given is called.

    It is unready from then on, tells clients to close their connections, answers on for the seconds of the setting
    `drain`, and gives what still runs the seconds of `shutdown_grace`.

    A second signal ends the process at once: what was running is taken up by the next start. Raises `StartRefused`.
    """
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None
    running: _Server | None = None
    stopping = False

    def stop() -> None:
        nonlocal stopping
        if stopping:
            return
        stopping = True
        if running is None:
            task.cancel()
        else:
            platform.health.draining = True
            running.drain(platform.settings.drain)

    def signalled() -> None:
        if stopping:
            os._exit(130)
        stop()

    def ready() -> None:
        settle_memory()
        listening()

    host, port = bound.getsockname()[:2]
    with _signals(loop, signalled), bound:
        platform.asgi()  # put together first: what routes or the gateway refuse is said before anything is opened
        ended(stop)
        try:
            async with platform:
                running = server(platform, ready)
                await running.serve(sockets=[bound])
        except asyncio.CancelledError:
            # Asked to stop while it was still opening.
            if not stopping:
                raise
        except OSError as error:
            raise refused(host, port, error) from error


@contextlib.contextmanager
def _signals(loop: asyncio.AbstractEventLoop, signalled: Callable[[], None]) -> Iterator[None]:
    try:
        for number in SIGNALS:
            loop.add_signal_handler(number, signalled)
    except NotImplementedError:
        # Windows has no handlers in the loop.
        before: dict[Any, Any] = {
            number: signal.signal(number, lambda *_: loop.call_soon_threadsafe(signalled)) for number in SIGNALS
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        return
    try:
        yield
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)


def run(work: Callable[[], Any]) -> Any:
    """Run the coroutine that `work` makes to its end, on uvloop where there is one."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(work())


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def settle_memory() -> None:
    """Take everything built so far out of the collector's sight, and let it run less often.

    Without this a busy process pauses for tens of milliseconds while modules and routes are searched for garbage.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
