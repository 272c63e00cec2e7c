"""Imports Piccolo without what an embedded host does not need.

`piccolo.querystring` imports asyncpg wherever that is installed, for the sake of printing queries; on SQLite it is not
needed, so for the moment of that import Piccolo is told that there is none. Piccolo also imports black, for writing
migrations; that is put off until somebody does.
"""

from __future__ import annotations

import importlib.util
import sys
from typing import Any, cast


def _without_asyncpg() -> None:
    if "asyncpg" in sys.modules or "piccolo.querystring" in sys.modules:
        return
    modules = cast("dict[str, Any]", sys.modules)
    # None is what makes `find_spec` say that there is no such module.
    modules["asyncpg"] = None
    try:
        import piccolo.querystring  # noqa: F401 - for its effect
    finally:
        del modules["asyncpg"]


def _black_later() -> None:
    spec = None if "black" in sys.modules else importlib.util.find_spec("black")
    if spec is None or spec.loader is None:
        return
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    sys.modules["black"] = module
    spec.loader.exec_module(module)


_without_asyncpg()
_black_later()
