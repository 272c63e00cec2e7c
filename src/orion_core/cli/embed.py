"""For commands of plugins: a platform on the configured databases that does no work by itself."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from orion_core.cli.configured import configured
from orion_core.observability import logging
from orion_core.platform import Platform


@contextlib.asynccontextmanager
async def serving(*names: str) -> AsyncIterator[Platform]:
    """The services `names` (all if none) in this process, whether or not a host runs on the same databases.

    What they tell and enqueue is carried on by a running host, or by the next one. Raises `StartRefused`.
    """
    found = configured()
    logging.setup("warning", found.settings.log_format)
    async with Platform(found.discovery, names, found.settings, work=False) as platform:
        yield platform
