"""ORION: the backend every product needs, as a library.

Embed it with `Platform`, write a service with `Contract`, `value`, `event`, `on`, `job` and `Plugin`. Contracts of
ORION's own services are in `orion_core.contracts`, ports in `orion_core.ports`, the test kit in `orion_core.testing`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import orion_core.ports.quiet_piccolo  # noqa: F401 - before the first import of Piccolo, whoever makes that

if TYPE_CHECKING:
    from orion_core.context import SYSTEM, Actor, Context, acting, current
    from orion_core.contract import Contract, raises, repeatable
    from orion_core.errors import (
        Conflict,
        Error,
        Forbidden,
        Invalid,
        NotFound,
        StartRefused,
        TooMany,
        Unauthenticated,
        Unavailable,
    )
    from orion_core.events import Envelope, Events, event, on, on_all
    from orion_core.ids import new_id
    from orion_core.jobs import Discard, Jobs, Retry, job
    from orion_core.json_value import Json
    from orion_core.litestar_plugin import OrionPlugin
    from orion_core.platform import Platform
    from orion_core.plugin import Plugin, hookimpl
    from orion_core.ports.authorization import Authorization
    from orion_core.ports.cache import Cache
    from orion_core.ports.clock import Clock
    from orion_core.ports.database import Database
    from orion_core.ports.mail import Mail
    from orion_core.secret import Secret
    from orion_core.settings import Settings
    from orion_core.values import value

_HOME = {
    "context": ("SYSTEM", "Actor", "Context", "acting", "current"),
    "contract": ("Contract", "raises", "repeatable"),
    "errors": (
        "Conflict",
        "Error",
        "Forbidden",
        "Invalid",
        "NotFound",
        "StartRefused",
        "TooMany",
        "Unauthenticated",
        "Unavailable",
    ),
    "events": ("Envelope", "Events", "event", "on", "on_all"),
    "ids": ("new_id",),
    "json_value": ("Json",),
    "jobs": ("Discard", "Jobs", "Retry", "job"),
    "platform": ("Platform",),
    "plugin": ("Plugin", "hookimpl"),
    "ports.authorization": ("Authorization",),
    "ports.cache": ("Cache",),
    "ports.clock": ("Clock",),
    "ports.database": ("Database",),
    "ports.mail": ("Mail",),
    "secret": ("Secret",),
    "settings": ("Settings",),
    "values": ("value",),
    "litestar_plugin": ("OrionPlugin",),
}
_MODULES = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "SYSTEM",
    "Actor",
    "Authorization",
    "Cache",
    "Clock",
    "Conflict",
    "Context",
    "Contract",
    "Database",
    "Discard",
    "Envelope",
    "Error",
    "Events",
    "Forbidden",
    "Invalid",
    "Jobs",
    "Json",
    "Mail",
    "NotFound",
    "OrionPlugin",
    "Platform",
    "Plugin",
    "Retry",
    "Secret",
    "Settings",
    "StartRefused",
    "TooMany",
    "Unauthenticated",
    "Unavailable",
    "acting",
    "current",
    "event",
    "hookimpl",
    "job",
    "new_id",
    "on",
    "on_all",
    "raises",
    "repeatable",
    "value",
]


def __getattr__(name: str) -> Any:
    # Each name is imported on first use (PEP 562): reading the settings must not cost the start of a web framework.
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module orion_core has no attribute {name!r}")
    return getattr(importlib.import_module(f"orion_core.{module}"), name)
