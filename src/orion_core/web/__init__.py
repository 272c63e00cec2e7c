"""The HTTP face: what routes of plugins are written with."""

from orion_core.web.access import api_keys, cookies, needs, public, signed_in, streaming
from orion_core.web.pages import Cursor, Limit

__all__ = ["Cursor", "Limit", "api_keys", "cookies", "needs", "public", "signed_in", "streaming"]
