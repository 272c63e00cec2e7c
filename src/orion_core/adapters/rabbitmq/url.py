"""The broker's URL: ``amqp://user:password@host:port/vhost?prefix=…``, several hosts separated by commas."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import attrs
from pika import URLParameters

from orion_core.errors import StartRefused


@attrs.frozen
class Address:
    """Where the broker is: parameters per host, and the prefix of all names on it."""

    hosts: tuple[URLParameters, ...]
    prefix: str


def parse(url: str, *, name: str, heartbeat: int, blocked_timeout: float) -> Address:
    """`url` as pika's parameters; raises `StartRefused` for one that cannot be used.

    `heartbeat` holds unless the URL has its own; the time a connection may stay blocked is `blocked_timeout` at most.
    """
    try:
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query))
        prefix = query.pop("prefix", "")
        login, _, hosts = parts.netloc.rpartition("@")
        found = tuple(
            URLParameters(
                urlunsplit(
                    (parts.scheme, f"{login}@{host}" if login else host, parts.path or "/%2F", urlencode(query), "")
                )
            )
            for host in hosts.split(",")
        )
    except (ValueError, TypeError) as error:
        # Not the URL itself: it holds a password.
        raise StartRefused(
            [f"the bus URL cannot be used ({error}): write amqp://user:password@host:5672/%2F"]
        ) from None
    for parameters in found:
        parameters.heartbeat = int(query.get("heartbeat", heartbeat))
        parameters.blocked_connection_timeout = min(
            parameters.blocked_connection_timeout or 60.0, blocked_timeout, 60.0
        )
        parameters.socket_timeout = min(parameters.socket_timeout or 5.0, 5.0)
        parameters.stack_timeout = 10.0
        # The supervisor does the repeating.
        parameters.connection_attempts = 1
        parameters.client_properties = {"connection_name": name}
    return Address(found, prefix)
