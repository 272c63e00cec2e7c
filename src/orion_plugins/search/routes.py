"""`/api/v1/search`: find; its administration below ``/admin``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

from litestar import Controller, Request, get, post
from litestar.di import NamedDependency
from litestar.openapi.spec import Example, OpenAPIMediaType, OpenAPIType, Operation, RequestBody, Schema
from litestar.params import FromPath, QueryParameter
from litestar.status_codes import HTTP_202_ACCEPTED

from orion_core.contracts.search import IndexStatus, Mode, Query, Results, Search, Task, TaskPage, TaskReport
from orion_core.web import Cursor, Limit, needs, signed_in
from orion_plugins.search.lines import read_lines

MAX_BODY = 8 * 1024 * 1024
"""What a call between processes takes, too."""


def _examples(*values: str) -> list[Example]:
    return [Example(value=value) for value in values]


IndexName = Annotated[str, QueryParameter(description="which index", max_length=100, examples=_examples("users"))]
Text = Annotated[
    str,
    QueryParameter(
        name="q",
        description='words, "phrases" and -exclusions; at most 1,024 characters',
        examples=_examples("ada lovel", '"analytical engine" -paper'),
    ),
]
FilterText = Annotated[
    str,
    QueryParameter(
        name="filter",
        description="comparisons of declared fields, joined by and, or, not",
        examples=_examples('name sw "ada" and created_at gt "2026-01-01T00:00:00Z"'),
    ),
]
Sort = Annotated[
    str,
    QueryParameter(
        description="declared fields, a minus before those that go down", examples=_examples("-created_at,name")
    ),
]
Offset = Annotated[int, QueryParameter(ge=0, description="how many hits to leave out; the depth is limited to 1,000")]
Count = Annotated[int, QueryParameter(ge=0, le=200, description="how many hits, 0 to 200; 0 only counts")]
Matching = Annotated[Mode, QueryParameter(description="`all`: only hits with all words; `any`: those come first")]


@dataclass
class LinesOperation(Operation):
    """Describes the body, which the handler reads by itself: lines of JSON are no JSON."""

    def __post_init__(self) -> None:
        line = '{"id": "7", "version": 1, "title": "Notes", "body": "on the Analytical Engine"}\n'
        schema = Schema(type=OpenAPIType.STRING, description="one JSON object per line", examples=[line])
        self.request_body = RequestBody(
            content={"application/x-ndjson": OpenAPIMediaType(schema=schema)}, required=True
        )


class SearchRoutes(Controller):
    """Finding what the services publish."""

    path = "/api/v1/search"
    tags = ("search",)

    @get("/", opt=signed_in(), operation_id="search_find", summary="Find documents of an index")
    async def find(
        self,
        search: NamedDependency[Search],
        index: IndexName,
        text: Text = "",
        filter_text: FilterText = "",
        sort: Sort = "",
        limit: Count = 50,
        offset: Offset = 0,
        cursor: Cursor = "",
        mode: Matching = "any",
    ) -> Results:
        """What you may see of the index, best first: hits with all words, then those with fewer.

        The last word may be unfinished unless a blank follows it. `total` is exact and the same on every page. A query,
        filter, sort or cursor that cannot be read answers 400 and says where; so does a page beyond 1,000 hits.
        """
        return await search.find(Query(index, text, filter_text, sort, limit, offset, cursor, mode))


class SearchAdminRoutes(Controller):
    """Indexes and the work on them."""

    path = "/api/v1/search/admin"
    tags = ("search",)

    @get("/indexes", opt=needs("search:read"), operation_id="search_indexes", summary="Read how all indexes stand")
    async def indexes(self, search: NamedDependency[Search]) -> tuple[IndexStatus, ...]:
        """By name, with documents, generation and waiting tasks."""
        return await search.indexes()

    @post(
        "/indexes/{index:str}/rebuild",
        opt=needs("search:write"),
        status_code=HTTP_202_ACCEPTED,
        operation_id="search_rebuild",
        summary="Rebuild an index",
    )
    async def rebuild(self, search: NamedDependency[Search], index: FromPath[str]) -> Task:
        """A new generation is filled beside the old one, which answers until then. Answers 202 with the task."""
        return await search.rebuild(index)

    @post(
        "/indexes/{index:str}/documents",
        opt=needs("search:write"),
        status_code=HTTP_202_ACCEPTED,
        operation_id="search_add",
        summary="Add documents to an index",
        operation_class=LinesOperation,
        request_max_body_size=MAX_BODY,
    )
    async def add(self, request: Request[Any, Any, Any], search: NamedDependency[Search], index: FromPath[str]) -> Task:
        """One JSON object per line (NDJSON), at most 10,000 and 8 MiB, each with `id` and `version`. Answers 202."""
        return await search.add(index, read_lines(await request.body()))

    @get("/tasks", opt=needs("search:read"), operation_id="search_tasks", summary="Read tasks")
    async def tasks(self, search: NamedDependency[Search], cursor: Cursor = "", limit: Limit = 50) -> TaskPage:
        """Newest first."""
        return await search.tasks(cursor, limit)

    @get("/tasks/{task_id:uuid}", opt=needs("search:read"), operation_id="search_task", summary="Read a task")
    async def task(self, search: NamedDependency[Search], task_id: FromPath[UUID]) -> TaskReport:
        """With what became of every document."""
        return await search.task(task_id)
