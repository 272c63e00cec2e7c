"""Production: what may not be as it is for trying things out. One list, for the start and for ``orion doctor``.

A deployment counts as production unless its public base URL is a loopback address: a property of the URL, not a flag.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol, runtime_checkable
from urllib.parse import SplitResult, unquote, urlsplit

from orion_core.plugin import Plugin
from orion_core.settings import Settings


@runtime_checkable
class Judging(Protocol):
    """The settings of a plugin that know what of them forbids production."""

    def production_problems(self) -> Iterable[str]:
        """What is wrong, each with its variable and its fix."""
        ...


def in_production(settings: Settings) -> bool:
    """Whether the public base URL, or without one the address that is listened on, is anything but a loopback."""
    host = _parts(settings.public_url).hostname if settings.public_url else settings.host.strip("[]")
    return not _is_loopback(host or "")


def problems(settings: Settings, plugins: Mapping[str, Plugin]) -> list[str]:
    """What forbids to run `plugins` with `settings` in production; nothing where it is none."""
    if not in_production(settings):
        return []
    found = [problem for check in CHECKS for problem in check(settings)]
    for name, plugin in plugins.items():
        own = settings.of(name, plugin.settings) if plugin.settings is not None else None
        if isinstance(own, Judging):
            found += own.production_problems()
    return found


def _parts(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:
        # One that cannot be read has no loopback address and no password; what reads it says what is wrong.
        return urlsplit("")


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


# The checks, each a function of the settings


def _public_url(settings: Settings) -> Iterator[str]:
    if not settings.public_url:
        yield (
            f"ORION_PUBLIC_URL must be set, since ORION_HOST={settings.host} listens beyond this machine: to the "
            "https:// address that clients use, or to http://localhost to try it out"
        )
    elif _parts(settings.public_url).scheme != "https":
        yield "ORION_PUBLIC_URL must begin with https:// unless it is a loopback address"


def _debug(settings: Settings) -> Iterator[str]:
    if settings.log_level.lower() == "debug":
        yield "ORION_LOG_LEVEL=debug shows more than may be kept: set it to info"


def _limits(settings: Settings) -> Iterator[str]:
    if settings.limits_url.startswith("none:"):
        yield "ORION_LIMITS_URL=none: lets everybody guess passwords: set it to memory: or redis://…"


KNOWN = frozenset(
    {
        "admin",
        "changeme",
        "change-me",
        "default",
        "guest",
        "minioadmin",
        "orion",
        "password",
        "postgres",
        "rabbitmq",
        "redis",
        "root",
        "secret",
        "test",
    }
)
"""Passwords that examples and images come with, these docs included."""


def _default_passwords(settings: Settings) -> Iterator[str]:
    urls = {
        "ORION_DATABASE_URL": settings.database_url,
        "ORION_BUS_URL": settings.bus_url,
        "ORION_CACHE_URL": settings.cache_url,
        "ORION_LIMITS_URL": settings.limits_url,
        "ORION_MAIL_URL": settings.mail_url,
        "ORION_BLOBS_URL": settings.blobs_url,
        **{f"ORION_{name.upper()}_DATABASE_URL": url for name, url in settings.databases.items()},
    }
    for variable, url in urls.items():
        password = _parts(url).password
        if password is None and url.startswith(("amqp:", "amqps:")):
            # What RabbitMQ's clients say when nothing is given.
            password = "guest"
        if password is not None and unquote(password).lower() in KNOWN:
            yield f"{variable} has a password that everybody knows: choose another one"


def _call_key(settings: Settings) -> Iterator[str]:
    for part in settings.call_key.reveal().split(","):
        secret = part.partition(":")[2]
        # Random text of 32 characters has more than twice as many different ones.
        if secret and len(set(secret)) < _DIFFERENT:
            yield "ORION_CALL_KEY has a secret that can be guessed: make one with secrets.token_urlsafe(32)"


_DIFFERENT = 8
CHECKS: tuple[Callable[[Settings], Iterable[str]], ...] = (
    _public_url,
    _debug,
    _limits,
    _default_passwords,
    _call_key,
)
"""Every check; one more goes here, or into `production_problems` of a plugin's settings."""
