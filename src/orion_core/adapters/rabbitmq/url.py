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
        if parts.scheme not in ("amqp", "amqps"):
            raise ValueError(parts.scheme)
        query = dict(parse_qsl(parts.query))
        prefix = query.pop("prefix", "")
        login, at, hosts = parts.netloc.rpartition("@")
        path, rest = parts.path or "/%2F", urlencode(query)
        found = tuple(
            URLParameters(urlunsplit((parts.scheme, f"{login}{at}{host}", path, rest, ""))) for host in hosts.split(",")
        )
        beat = int(query.get("heartbeat", heartbeat))
    except (ValueError, TypeError):
        # Neither the URL nor the error goes into the message: both may hold a piece of the password.
        problem = "the bus URL cannot be used: write amqp://user:password@host:5672/%2F, with % escapes in the password"
        raise StartRefused([problem]) from None
    for parameters in found:
        parameters.heartbeat = beat
        parameters.blocked_connection_timeout = min(
            parameters.blocked_connection_timeout or 60.0, blocked_timeout, 60.0
        )
        parameters.socket_timeout = min(parameters.socket_timeout or 5.0, 5.0)
        parameters.stack_timeout = 10.0
        # The supervisor does the repeating.
        parameters.connection_attempts = 1
        parameters.client_properties = {"connection_name": name}
    return Address(found, prefix)
