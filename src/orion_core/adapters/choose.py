"""Adapters by the scheme of a URL; each module is imported only when its scheme is chosen.

==========  =================================
database    sqlite, postgresql
bus         embedded, amqp, amqps
cache       memory, redis, rediss
limits      memory, redis, rediss, none
mail        file, smtp, smtps
blobs       file, memory, s3
purge       none, http, https
==========  =================================
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from orion_core.errors import StartRefused
from orion_core.ports.blobs import Blobs
from orion_core.ports.bus import Bus
from orion_core.ports.cache import Cache
from orion_core.ports.clock import Clock
from orion_core.ports.database import Database
from orion_core.ports.limits import Limits
from orion_core.ports.mail import Mail
from orion_core.ports.purge import Purge
from orion_core.settings import Settings

SCHEMES = {
    "database": ("sqlite", "postgresql"),
    "bus": ("embedded", "amqp", "amqps"),
    "cache": ("memory", "redis", "rediss"),
    "limits": ("memory", "redis", "rediss", "none"),
    "mail": ("file", "smtp", "smtps"),
    "blobs": ("file", "memory", "s3"),
    "purge": ("none", "gateway", "http", "https"),
}


def problems(settings: Settings, databases: Sequence[str]) -> list[str]:
    """What is wrong with the URLs of `settings`; `databases` are the services that have a database."""
    found = []
    urls = {
        "bus": settings.bus_url,
        "cache": settings.cache_url,
        "limits": settings.limits_url,
        "mail": settings.mail_url,
        "blobs": settings.blobs_url,
        "purge": settings.purge_url,
    }
    for port, url in urls.items():
        found += _wrong(port, f"ORION_{port.upper()}_URL", url)
    for service in databases:
        found += _wrong("database", _variable(settings, service), settings.database(service))
    return list(dict.fromkeys(found))


def _variable(settings: Settings, service: str) -> str:
    return f"ORION_{service.upper()}_DATABASE_URL" if service in settings.databases else "ORION_DATABASE_URL"


def _wrong(port: str, variable: str, url: str) -> list[str]:
    scheme = url.partition(":")[0]
    if scheme in SCHEMES[port]:
        return [] if _has_number_for_port(url) else [f"{variable}: its port must be a number up to 65535"]
    known = ", ".join(f"{each}:" for each in SCHEMES[port])
    return [f"{variable}: there is no {port} adapter for {scheme}:, use one of {known}"]


@contextlib.contextmanager
def _reading(variable: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise StartRefused([f"{variable}: {error}"]) from error


async def open_database(settings: Settings, service: str) -> Database:
    """The database of `service`; raises `DatabaseUnavailable` for a server that is away.

    Here and below a URL that cannot be read raises `StartRefused`.
    """
    with _reading(_variable(settings, service)):
        return await _open_database(settings, service)


async def _open_database(settings: Settings, service: str) -> Database:
    url = settings.database(service)
    if url.startswith("sqlite:"):
        from orion_core.adapters.sqlite import SqliteDatabase

        return await SqliteDatabase.open(url, synchronous=settings.synchronous)
    from orion_core.adapters.postgres import PostgresDatabase

    if "schema=" not in url and service not in settings.databases:
        url += f"{'&' if '?' in url else '?'}schema={service}"
    return await PostgresDatabase.open(url, pool=settings.database_pool)


def _has_number_for_port(url: str) -> bool:
    # A reader further on would show what stands there instead, which may be a part of the password.
    try:
        return urlsplit(url).port != -1
    except ValueError:
        return False


async def open_bus(settings: Settings, databases: Mapping[str, Database]) -> Bus:
    """The bus; a broker that is away is no error."""
    if settings.bus_url.startswith("embedded:"):
        from orion_core.adapters.embedded_bus import EmbeddedBus

        return EmbeddedBus(databases, retry_delays=settings.retry_delays, interval=settings.relay_interval)
    from orion_core.adapters.rabbitmq import RabbitBus

    with _reading("ORION_BUS_URL"):
        return await RabbitBus.open(settings.bus_url, retry_delays=settings.retry_delays)


async def open_cache(settings: Settings, clock: Clock) -> Cache:
    """The cache; a server that is away is no error."""
    if settings.cache_url.startswith("memory:"):
        from orion_core.adapters.memory_cache import MemoryCache

        return MemoryCache(clock)
    from orion_core.adapters.redis_cache import RedisCache

    with _reading("ORION_CACHE_URL"):
        return await RedisCache.open(settings.cache_url)


def open_limits(settings: Settings, clock: Clock) -> Limits:
    """The limits, which connect when first used."""
    if settings.limits_url.startswith("none:"):
        from orion_core.adapters.no_limits import NoLimits

        return NoLimits()
    if settings.limits_url.startswith("memory:"):
        from orion_core.adapters.memory_limits import MemoryLimits

        return MemoryLimits(clock)
    from orion_core.adapters.redis_limits import RedisLimits

    with _reading("ORION_LIMITS_URL"):
        return RedisLimits.open(settings.limits_url, clock, settings.limits_replicas)


async def open_mail(settings: Settings) -> Mail:
    """The way mail leaves."""
    url = settings.mail()
    if url.startswith("file:"):
        from orion_core.adapters.file_mail import FileMail

        return FileMail(file_path(url))
    from orion_core.adapters.smtp_mail import SmtpMail

    with _reading("ORION_MAIL_URL"):
        return SmtpMail(url)


async def open_blobs(settings: Settings, clock: Clock) -> Blobs:
    """The store of blobs; one that is away is no error."""
    url = settings.blobs()
    if url.startswith("file:"):
        from orion_core.adapters.file_blobs import FileBlobs

        return FileBlobs(file_path(url), clock)
    if url.startswith("memory:"):
        from orion_core.adapters.memory_blobs import MemoryBlobs

        return MemoryBlobs(clock)
    from orion_core.adapters.s3_blobs import S3Blobs

    with _reading("ORION_BLOBS_URL"):
        return S3Blobs(url)


async def open_purge(settings: Settings, cache: Cache, clock: Clock) -> Purge:
    """The way shared caches are told to forget: the gateway's own, through `cache`, and a CDN in front of it."""
    from orion_core.adapters.cache_purge import CachePurge
    from orion_core.purge_marks import PurgeMarks

    marks = PurgeMarks(cache, clock)
    if settings.purge_url.startswith(("gateway:", "none:")):
        return CachePurge(marks)  # with none: no service orders anything, and administrators still may
    if not settings.public_url:
        # A cache knows whole addresses, and would forget nothing without a word.
        raise StartRefused(["ORION_PURGE_URL needs ORION_PUBLIC_URL: set the base URL under which the cache is asked"])
    from orion_core.adapters.http_purge import HttpPurge

    with _reading("ORION_PURGE_URL"):
        return CachePurge(marks, HttpPurge(settings.purge_url))


def file_path(url: str) -> Path:
    """The absolute path in ``file:///absolute/path``."""
    return Path("/" + unquote(urlsplit(url).path).lstrip("/"))
