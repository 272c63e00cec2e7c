"""The lifespan of a host, and how it stands under another application."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from orion_core.web.host import run_lifespan, unmounted


class Opened:
    """What a lifespan holds open."""

    def __init__(self, failing: str = "") -> None:
        self.events: list[str] = []
        self.failing = failing

    def manager(self) -> AbstractAsyncContextManager[None]:
        @asynccontextmanager
        async def opened() -> Any:
            if self.failing == "start":
                raise RuntimeError("no database")
            self.events.append("opened")
            try:
                yield
            finally:
                self.events.append("closed")
                if self.failing == "stop":
                    raise RuntimeError("a job would not end")

        return opened()


async def lifespan(opened: Opened) -> list[str]:
    """The types of the messages of a whole life."""
    sent: list[str] = []
    incoming = iter(["lifespan.startup", "lifespan.shutdown"])

    async def receive() -> Any:
        return {"type": next(incoming)}

    async def send(message: Any) -> None:
        sent.append(message["type"])

    await run_lifespan(opened.manager(), receive, send)
    return sent


@pytest.mark.parametrize(
    ("failing", "expected"),
    [
        ("", ["lifespan.startup.complete", "lifespan.shutdown.complete"]),
        ("start", ["lifespan.startup.failed"]),
        ("stop", ["lifespan.startup.complete", "lifespan.shutdown.failed"]),
    ],
)
async def test_the_server_hears_how_start_and_stop_went(failing: str, expected: list[str]) -> None:
    assert await lifespan(Opened(failing)) == expected


async def test_a_server_that_just_ends_the_lifespan_leaves_nothing_open() -> None:
    opened, up = Opened(), asyncio.Event()
    first = True

    async def receive() -> Any:
        nonlocal first
        if not first:
            await asyncio.Event().wait()
        first = False
        return {"type": "lifespan.startup"}

    async def send(message: Any) -> None:
        up.set()

    task = asyncio.ensure_future(run_lifespan(opened.manager(), receive, send))
    await up.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert opened.events == ["opened", "closed"]


@pytest.mark.parametrize(
    ("root", "path", "expected"),
    [
        ("", "/health", "/health"),
        ("/orion", "/orion/health", "/health"),
        ("/orion", "/orion", "/"),
        ("/orion", "/health", "/health"),
    ],
)
def test_a_mounted_application_sees_its_own_paths(root: str, path: str, expected: str) -> None:
    scope = {"type": "http", "root_path": root, "path": path, "raw_path": path.encode()}

    assert unmounted(scope)["path"] == expected
