"""Imports Piccolo without the driver of PostgreSQL.

`piccolo.querystring` imports asyncpg wherever that is installed, for the sake of printing queries. An embedded host on
SQLite does not need it and should not wait for it, so for the moment of that import Piccolo is told that there is none.
"""

from __future__ import annotations

import sys
from typing import Any, cast


def _import() -> None:
    if "asyncpg" in sys.modules or "piccolo.querystring" in sys.modules:
        return
    modules = cast("dict[str, Any]", sys.modules)
    # None is what makes `find_spec` say that there is no such module.
    modules["asyncpg"] = None
    try:
        import piccolo.querystring  # noqa: F401 - for its effect
    finally:
        del modules["asyncpg"]


_import()
