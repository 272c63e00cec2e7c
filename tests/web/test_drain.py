"""How a host takes its leave of clients."""

from __future__ import annotations

from typing import Any

from small_app import browser

from orion_core.serve import closing


async def test_answers_close_their_connections_from_the_moment_of_the_signal() -> None:
    """G81."""
    draining = False

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]})
        await send({"type": "http.response.body", "body": b"ok"})

    async with browser(closing(app, lambda: draining)) as client:
        before = await client.get("/")
        draining = True
        after = await client.get("/")

    assert ("connection" in before.headers, after.headers["connection"], after.headers["a"]) == (False, "close", "b")
