"""Header fields that are added to or left out of what goes to one upstream and comes back from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from orion_plugins.gateway.client import Body, Gone, Headers, Response, Transport


class HeaderRules:
    """A `Transport` that changes the fields of requests to `inner` and of its answers.

    `drop` and `drop_from_answers` are names in any case; `add` and `add_to_answers` replace what is there under the
    same name.
    """

    def __init__(
        self,
        inner: Transport,
        *,
        add: Mapping[str, str],
        drop: Iterable[str],
        add_to_answers: Mapping[str, str],
        drop_from_answers: Iterable[str],
    ) -> None:
        self._inner = inner
        self._added = _fields(add)
        self._dropped = _names(drop) | {name for name, _ in self._added}
        self._added_to_answers = _fields(add_to_answers)
        self._dropped_from_answers = _names(drop_from_answers) | {name for name, _ in self._added_to_answers}

    async def send(
        self,
        method: str,
        target: bytes,
        headers: Headers,
        body: Body = b"",
        *,
        length: int | None = None,
        gone: Gone | None = None,
        deadline: float | None = None,
    ) -> Response:
        """Send one request with other fields; its answer comes with other fields."""
        response = await self._inner.send(
            method, target, self.request(headers), body, length=length, gone=gone, deadline=deadline
        )
        if self._dropped_from_answers:
            response.headers = self.answer(response.headers)
        return response

    def request(self, headers: Headers) -> Headers:
        """`headers` as the upstream is to see them."""
        return _changed(headers, self._dropped, self._added)

    def answer(self, headers: Headers) -> Headers:
        """`headers` of the upstream as the client is to see them."""
        return _changed(headers, self._dropped_from_answers, self._added_to_answers)


def _changed(headers: Headers, dropped: frozenset[bytes], added: Headers) -> Headers:
    return [*(field for field in headers if field[0] not in dropped), *added]


def _fields(given: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode("ascii"), value.encode("latin-1")) for name, value in given.items()]


def _names(given: Iterable[str]) -> frozenset[bytes]:
    return frozenset(name.lower().encode("ascii") for name in given)
