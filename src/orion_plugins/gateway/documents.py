"""The API documents of the whole deployment, at the same place where each host has its own."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

import httpx

from orion_core.background import end, spawn
from orion_core.plugin import Host, under
from orion_core.web.docs import page
from orion_plugins.gateway.openapi import Document, is_document, merged

log = logging.getLogger("orion.gateway.documents")

App = Callable[[Any, Any, Any], Awaitable[None]]

PAGE: Final = "/schema"
DOCUMENT: Final = "/schema/openapi.json"
_PLACES: Final = frozenset({PAGE, f"{PAGE}/", DOCUMENT})
_JSON: Final = b"application/vnd.oai.openapi+json"
_HTML: Final = b"text/html; charset=utf-8"
PATIENCE: Final = 2.0
"""Seconds that a peer has to send its document."""
KEPT: Final = 60.0
"""Seconds after which a document that is asked for is fetched anew; the old one serves while its peer is away."""
AGAIN: Final = 2.0
"""Seconds after which a peer that had none is asked again."""
_LARGEST: Final = 8 * 1024 * 1024


def documents(app: App, host: Host) -> App:
    """Wrap `app` so that its API page and document cover the peers too; without peers there is no layer."""
    peers = {name: urls for name, urls in host.settings.peers.items() if name not in host.served and name != "gateway"}
    if not peers or not host.settings.docs:
        return app
    kept = {name: PeerDocument(name, urls) for name, urls in peers.items() if name in host.prefixes.values()}
    prefixes = dict(host.prefixes)

    async def close() -> None:
        for each in kept.values():
            await each.aclose()

    host.on_stop(close)

    def owner(path: str) -> str | None:
        return under(prefixes, path)

    # Putting them together takes milliseconds, so it is done when one of them is new.
    made_of: tuple[bytes, list[Document | None]] = (b"", [])
    made = (b"", b"")

    async def layer(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] not in _PLACES or scope["type"] != "http" or scope["method"] not in ("GET", "HEAD"):
            await app(scope, receive, send)
            return
        head, body = await _own(app, scope, receive)
        if head.get("status") == 200:
            found = await asyncio.gather(*(each.get() for each in kept.values()))
            nonlocal made_of, made
            if made_of != (body, found):
                whole = merged(json.loads(body), dict(zip(kept, found, strict=True)), owner)
                made_of, made = (body, found), (json.dumps(whole).encode(), page(whole).encode())
            body, kind = (made[0], _JSON) if scope["path"] == DOCUMENT else (made[1], _HTML)
            head = {**head, "headers": [(b"content-type", kind), (b"content-length", b"%d" % len(body))]}
        await send(head)
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    return layer


class PeerDocument:
    """The document of one peer: fetched when somebody first wants it, kept, and fetched anew now and then."""

    def __init__(self, name: str, urls: tuple[str, ...]) -> None:
        self._name = name
        self._urls = urls
        self._document: Document | None = None
        self._next = 0.0
        self._fetching: asyncio.Task[None] | None = None

    async def get(self) -> Document | None:
        """The document, or None while the peer has none to give."""
        if asyncio.get_running_loop().time() >= self._next:
            # However many ask at once, the peer is asked once.
            if self._fetching is None:
                self._fetching = spawn(self._fetch(), f"the API document of {self._name}")
                self._fetching.add_done_callback(self._fetched)
            await asyncio.shield(self._fetching)
        return self._document

    async def aclose(self) -> None:
        """Give up what is being fetched."""
        if self._fetching is not None:
            await end(self._fetching)

    def _fetched(self, _: Any) -> None:
        self._fetching = None

    async def _fetch(self) -> None:
        found = None
        # Never the environment's proxies: peers are inside.
        async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as client:
            for url in self._urls:
                if (found := await self._from(client, url)) is not None:
                    self._document = found
                    break
        self._next = asyncio.get_running_loop().time() + (AGAIN if found is None else KEPT)

    async def _from(self, client: httpx.AsyncClient, url: str) -> Document | None:
        try:
            async with asyncio.timeout(PATIENCE), client.stream("GET", url + DOCUMENT) as answer:
                if answer.status_code != 200:
                    return None
                content = bytearray()
                async for part in answer.aiter_bytes():
                    content += part
                    if len(content) > _LARGEST:
                        return None
            document = json.loads(content)
        except (httpx.HTTPError, TimeoutError, ValueError, RecursionError) as error:
            log.info("the API document of %s cannot be had: %s", self._name, type(error).__name__)
            return None
        return document if is_document(document) else None


async def _own(app: App, scope: Any, receive: Any) -> tuple[dict[str, Any], bytes]:
    """The head and body of this host's own document."""
    head: dict[str, Any] = {}
    body = bytearray()

    async def collect(message: Any) -> None:
        if message["type"] == "http.response.start":
            head.update(message)
        else:
            body.extend(message.get("body", b""))

    asked = {**scope, "method": "GET", "path": DOCUMENT, "raw_path": DOCUMENT.encode(), "query_string": b""}
    await app(asked, receive, collect)
    scope["path_template"] = asked.get("path_template", "")
    return head, bytes(body)
