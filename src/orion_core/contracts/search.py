"""Finding what the services publish."""

from __future__ import annotations

import abc
from datetime import datetime
from typing import Literal
from uuid import UUID

import attrs

from orion_core.contract import Contract, raises, repeatable
from orion_core.errors import NotFound
from orion_core.json_value import Json
from orion_core.validators import between, max_len
from orion_core.values import value

Mode = Literal["any", "all"]
TaskKind = Literal["documents", "rebuild", "check"]
TaskStatus = Literal["waiting", "running", "succeeded", "failed"]


@value
class Query:
    """What to find in one index.

    `text` is what a person types: words, of which the last one may be unfinished, ``"phrases"`` and ``-exclusions``.
    Empty text finds everything that the filter lets through. Hits with all words come first; with the mode ``all``
    there are no others. `filter` and `sort` are written as `orion_core.filters` describes. A page begins at `offset`,
    or after `cursor`, which is the `next_cursor` of the page before it.
    """

    index: str = attrs.field(validator=max_len(100))
    text: str = ""
    filter: str = ""
    sort: str = ""
    limit: int = attrs.field(default=50, validator=between(0, 200))
    offset: int = attrs.field(default=0, validator=between(0, 1_000_000_000))
    cursor: str = ""
    mode: Mode = "any"


@value
class Mark:
    """Where a word was found: from `start` up to but without `end`, in code points of the field's text."""

    start: int
    end: int


@value
class Highlight:
    """A piece of a field's text as HTML: escaped, with ``<mark>`` around each word that was found.

    `offsets` are the places in the field's whole text, the first 100 of them.
    """

    field: str
    html: str
    offsets: tuple[Mark, ...]


@value
class Hit:
    """One document that was found, with as much of it as the caller may see. `score` is only comparable within one
    answer, and 0 without words to find."""

    id: str
    score: float
    fields: Json
    highlights: tuple[Highlight, ...]


@value
class Results:
    """One page of hits. `total` counts the hits of all pages exactly; `next_cursor` is None on the last page."""

    items: tuple[Hit, ...]
    total: int
    next_cursor: str | None


@value
class IndexStatus:
    """How an index stands. `generation` is the build that answers now, `building` the one that is being filled."""

    name: str
    service: str
    documents: int
    words: int
    version: int
    generation: int
    building: int | None
    waiting_tasks: int
    oldest_task: datetime | None


@value
class Task:
    """One accepted piece of work on an index. `done` counts the documents it has come to, `refused` those among them
    that were not taken."""

    id: UUID
    index: str
    kind: TaskKind
    status: TaskStatus
    done: int
    refused: int
    detail: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


@value
class Outcome:
    """What became of one document of a task; `line` counts from 1, `detail` says why it was refused."""

    line: int
    id: str
    accepted: bool
    detail: str


@value
class TaskReport:
    """A task, and what became of every document so far."""

    task: Task
    outcomes: tuple[Outcome, ...]


@value
class TaskPage:
    """Tasks, newest first; `next_cursor` is None on the last page."""

    items: tuple[Task, ...]
    next_cursor: str | None


class NoSuchIndex(NotFound):
    """No installed service declares an index of this name."""

    code = "search.no_such_index"


class NoSuchTask(NotFound):
    """There is no task with this id."""

    code = "search.no_such_task"


class Search(Contract, name="search"):
    """Finding what the services publish: each declares what of its own can be found, and events keep it current."""

    @raises(NoSuchIndex)
    @repeatable
    @abc.abstractmethod
    async def find(self, query: Query) -> Results:
        """One page of what the caller may see and the query asks for, best first.

        Raises `Malformed` (400) for text of more than 1,024 characters or 32 words, for a filter, sort or cursor that
        cannot be read, and for a page that goes beyond the first 1,000 hits.
        """

    @repeatable
    @abc.abstractmethod
    async def indexes(self) -> tuple[IndexStatus, ...]:
        """All indexes by name; needs `search:read`."""

    @repeatable
    @abc.abstractmethod
    async def tasks(self, cursor: str, limit: int) -> TaskPage:
        """Tasks, newest first: `limit` (1 to 200) of them after `cursor`, empty at first; needs `search:read`."""

    @raises(NoSuchTask)
    @repeatable
    @abc.abstractmethod
    async def task(self, task_id: UUID) -> TaskReport:
        """One task and its outcomes; needs `search:read`."""

    @raises(NoSuchIndex)
    @repeatable
    @abc.abstractmethod
    async def rebuild(self, index: str) -> Task:
        """Fill a new generation of the index beside the old one and let it take over; needs `search:write`.

        An index that is being rebuilt already answers with that task.
        """

    @raises(NoSuchIndex)
    @abc.abstractmethod
    async def add(self, index: str, documents: tuple[Json, ...]) -> Task:
        """Take up to 10,000 documents into the index as one task; needs `search:write`.

        Each is an object with `id` (text), `version` (a whole number: an older one never replaces a newer) and fields.
        """
