"""What search stores.

Sources are the truth: for each document of an index, what each event last said of it. Documents are what a generation
(one build) of the index made of them, in up to two forms: ``f`` with everything, for the owner and those with the
permission, and ``o`` with the fields that are open to all. A scope is the number of a generation with a form: ``7f``.
The full-text index over the words of documents differs between databases and is made by a migration of its own; see
`dialect.py`.
"""

from __future__ import annotations

from piccolo.columns import UUID, BigInt, DoublePrecision, Integer, Text, Timestamptz, Varchar
from piccolo.table import Table

from orion_core.migrations.columns import Position


class Index(Table, tablename="search_indexes"):
    """One index: the generation that answers, and the one that is being filled. `version` counts its changes."""

    name = Varchar(100, primary_key=True, default=None)
    serving = BigInt()
    building = BigInt(default=None, null=True)
    version = BigInt()


class Generation(Table, tablename="search_generations"):
    """One build of an index. `status` is building, serving or retired; `layout` is the declaration it was built by."""

    id = Position(primary_key=True)
    index_name = Varchar(100)
    status = Varchar(10)
    layout = Text()
    retired_ms = BigInt(default=None, null=True)


class Scope(Table, tablename="search_scopes"):
    """How many documents a scope has, and how many words together."""

    scope = Varchar(24, primary_key=True, default=None)
    documents = BigInt()
    words = BigInt()


class Source(Table, tablename="search_sources"):
    """What is known of one document of an index: `state` is JSON, see `documents.py`. `owner` is a person's id,
    `generation` the newest one when it was last heard of."""

    id = Position(primary_key=True)
    index_name = Varchar(100)
    doc_id = Text()
    owner = Text(index=True)
    generation = BigInt(index=True)
    state = Text()


class Document(Table, tablename="search_documents"):
    """One form of one document in one generation.

    `length` stands before the long columns, so that SQLite need not read these to know it. `fields` is a JSON object.
    `words` are its words, each after a blank, with ``|`` between fields: what the full text is made of, and where
    phrases are looked for.
    """

    position = Position(primary_key=True)
    scope = Varchar(24)
    doc_id = Text()
    owner = Text()
    length = Integer()
    fields = Text()
    words = Text()


class Value(Table, tablename="search_values"):
    """One value of a filterable field of a document: text folded, everything else as a number."""

    id = Position(primary_key=True)
    document = BigInt(index=True)
    scope = Varchar(24)
    field = Varchar(100)
    text = Text(default=None, null=True)
    number = DoublePrecision(default=None, null=True)


class Word(Table, tablename="search_words"):
    """The vocabulary of a scope: in how many documents a word (kind ``w``) or a stem (kind ``s``) occurs."""

    id = Position(primary_key=True)
    scope = Varchar(24)
    kind = Varchar(1)
    word = Text()
    stem = Text()
    documents = BigInt()


class TaskRow(Table, tablename="search_tasks"):
    """One accepted piece of work. `cursor` and `done` say how far it is, `moved_at` since when; `outcomes` is a JSON
    list."""

    id = UUID(primary_key=True, default=None)
    index_name = Varchar(100)
    kind = Varchar(20)
    status = Varchar(20, index=True)
    cursor = Text()
    done = Integer()
    refused = Integer()
    outcomes = Text()
    detail = Text()
    created_at = Timestamptz(default=None)
    started_at = Timestamptz(default=None, null=True)
    moved_at = Timestamptz(default=None, null=True)
    finished_at = Timestamptz(default=None, null=True)


class TaskPart(Table, tablename="search_task_parts"):
    """Documents that a task still has to take, as a JSON list; removed once they are taken."""

    id = Position(primary_key=True)
    task = UUID(default=None, index=True)
    first = Integer()
    documents = Text()


class Erased(Table, tablename="search_erased"):
    """A person who was erased: documents of theirs that still arrive are not taken."""

    person = Varchar(64, primary_key=True, default=None)
