"""Pages: ``?cursor=&limit=`` in, ``{items, next_cursor}`` out."""

from __future__ import annotations

from typing import Annotated

from litestar.params import Parameter

Cursor = Annotated[str, Parameter(query="cursor", default="", description="`next_cursor` of the page before")]
Limit = Annotated[int, Parameter(query="limit", default=50, ge=1, le=200, description="how many items, 1 to 200")]
