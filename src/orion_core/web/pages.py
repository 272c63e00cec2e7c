"""Pages: ``?cursor=&limit=`` in, ``{items, next_cursor}`` out."""

from __future__ import annotations

from typing import Annotated

from litestar.params import QueryParameter

Cursor = Annotated[str, QueryParameter(description="`next_cursor` of the page before; empty for the first")]
"""The query parameter `cursor`; its default in the handler is the empty text."""

Limit = Annotated[int, QueryParameter(ge=1, le=200, description="how many items, 1 to 200")]
"""The query parameter `limit`; its default in the handler is 50."""
