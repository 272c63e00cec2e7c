"""Adapters by the scheme of a URL; each module is imported only when its scheme is chosen.

==========  =================================
database    sqlite, postgresql
bus         embedded, amqp, amqps
cache       memory, redis, rediss
mail        file, smtp, smtps
blobs       file, memory, s3
purge       none, http, https
==========  =================================
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from orion_core.ports.blobs import Blobs
from orion_core.ports.bus import Bus
from orion_core.ports.cache import Cache
from orion_core.ports.clock import Clock
from orion_core.ports.database import Database
from orion_core.ports.mail import Mail
from orion_core.ports.purge import Purge
from orion_core.settings import Settings

SCHEMES = {
    "database": ("sqlite", "postgresql"),
    "bus": ("embedded", "amqp", "amqps"),
    "cache": ("memory", "redis", "rediss"),
    "mail": ("file", "smtp", "smtps"),
    "blobs": ("file", "memory", "s3"),
    "purge": ("none", "http", "https"),
}


def problems(settings: Settings, databases: Sequence[str]) -> list[str]:
    """What is wrong with the URLs of `settings`; `databases` are the services that have a database."""
    found = []
    urls = {
        "bus": settings.bus_url,
        "cache": settings.cache_url,
        "mail": settings.mail_url,
        "blobs": settings.blobs_url,
        "purge": settings.purge_url,
    }
    for port, url in urls.items():
        found += _wrong(port, f"ORION_{port.upper()}_URL", url)
    for service in databases:
        variable = f"ORION_{service.upper()}_DATABASE_URL" if service in settings.databases else "ORION_DATABASE_URL"
        found += _wrong("database", variable, settings.database(service))
    return list(dict.fromkeys(found))


def _wrong(port: str, variable: str, url: str) -> list[str]:
    scheme = url.partition(":")[0]
    if scheme in SCHEMES[port]:
        return []
    known = ", ".join(f"{each}:" for each in SCHEMES[port])
    return [f"{variable}: there is no {port} adapter for {scheme}:, use one of {known}"]


async def open_database(settings: Settings, service: str) -> Database:
    """The database of `service`; raises `DatabaseUnavailable` for a server that is away."""
    url = settings.database(service)
    if url.startswith("sqlite:"):
        from orion_core.adapters.sqlite import SqliteDatabase

        return await SqliteDatabase.open(url, synchronous=settings.synchronous)
    from orion_core.adapters.postgres import PostgresDatabase

    if "schema=" not in url and service not in settings.databases:
        url += f"{'&' if '?' in url else '?'}schema={service}"
    return await PostgresDatabase.open(url, pool=settings.database_pool)


async def open_bus(settings: Settings, databases: Mapping[str, Database]) -> Bus:
    """The bus; a broker that is away is no error."""
    if settings.bus_url.startswith("embedded:"):
        from orion_core.adapters.embedded_bus import EmbeddedBus

        return EmbeddedBus(databases, retry_delays=settings.retry_delays, interval=settings.relay_interval)
    from orion_core.adapters.rabbitmq import RabbitBus

    return await RabbitBus.open(settings.bus_url, retry_delays=settings.retry_delays)


async def open_cache(settings: Settings, clock: Clock) -> Cache:
    """The cache; a server that is away is no error."""
    if settings.cache_url.startswith("memory:"):
        from orion_core.adapters.memory_cache import MemoryCache

        return MemoryCache(clock)
    from orion_core.adapters.redis_cache import RedisCache

    return await RedisCache.open(settings.cache_url)


async def open_mail(settings: Settings) -> Mail:
    """The way mail leaves."""
    url = settings.mail()
    if url.startswith("file:"):
        from orion_core.adapters.file_mail import FileMail

        return FileMail(file_path(url))
    from orion_core.adapters.smtp_mail import SmtpMail

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

    return S3Blobs(url)


async def open_purge(settings: Settings) -> Purge:
    """The way a shared cache is told to forget."""
    if settings.purge_url.startswith("none:"):
        from orion_core.adapters.no_purge import NoPurge

        return NoPurge()
    from orion_core.adapters.http_purge import HttpPurge

    return HttpPurge(settings.purge_url)


def file_path(url: str) -> Path:
    """The absolute path in ``file:///absolute/path``."""
    return Path("/" + unquote(urlsplit(url).path).lstrip("/"))
