"""Conditions of queries as SQL with arguments: what somebody may see, filters, phrases, order. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

import attrs

from orion_core.context import Actor
from orion_core.filters import Comparison, Filter, Junction, Not, Order
from orion_core.plugin import Searchable
from orion_core.ports.database import Database
from orion_plugins.search.dialect import inside
from orion_plugins.search.documents import FULL, MAX_VALUE, OPEN, moment
from orion_plugins.search.queries import Phrase
from orion_plugins.search.words import may_continue

_SIGNS = {"eq": "=", "gt": ">", "ge": ">=", "lt": "<", "le": "<="}


@attrs.define
class Arguments:
    """The arguments of one statement."""

    values: list[Any] = attrs.field(factory=list)

    def add(self, value: Any) -> str:
        """A placeholder for `value`."""
        self.values.append(value)
        return f"${len(self.values)}"

    def several(self, values: Iterable[Any]) -> str:
        """Placeholders for `values`, at least one."""
        return ", ".join([self.add(value) for value in values])


@attrs.frozen
class View:
    """What somebody may see of a generation: documents of `scopes`, of the full form only their own unless they see
    `everything`. `statistics` is the scope whose counts they may know, empty if these are to be counted."""

    scopes: tuple[str, ...]
    person: str
    everything: bool
    statistics: str

    @classmethod
    def of(cls, actor: Actor, declared: Searchable, generation: int, open_to_all: bool) -> View:
        """What `actor` may see; raises `Unauthenticated` for nobody."""
        full, open_form = f"{generation}{FULL}", f"{generation}{OPEN}"
        if actor.trusted or (declared.permission and actor.may(declared.permission)):
            return cls((full,), "", True, full)
        mine = str(actor.user_id)
        if open_to_all:
            return cls((open_form, full), mine, False, open_form)
        return cls((full,), mine, False, "")

    @property
    def reach(self) -> tuple[tuple[str, str], ...]:
        """The scopes with the person whose documents alone are seen of each, empty for those of all."""
        *others, full = self.scopes
        return (*((scope, "") for scope in others), (full, "" if self.everything else self.person))

    def condition(self, arguments: Arguments) -> str:
        """The condition on a document `d`. The open form of one's own documents is left out: the full one is there."""
        full = self.scopes[-1]
        if self.everything:
            return f"d.scope = {arguments.add(full)}"
        own = f"(d.scope = {arguments.add(full)} AND d.owner = {arguments.add(self.person)})"
        if len(self.scopes) == 1:
            return own
        return f"({own} OR (d.scope = {arguments.add(self.scopes[0])} AND d.owner <> {arguments.add(self.person)}))"


def phrased(db: Database, phrase: Phrase, arguments: Arguments) -> str:
    """The condition that the words of `phrase` stand side by side."""
    end = "" if may_continue(phrase[-1]) else " "
    place = inside(db, "d.words", arguments.add(f" {' '.join(phrase)}{end}"))
    return f"({place} > 0)"


def filtered(db: Database, wanted: Filter, types: Mapping[str, type], arguments: Arguments) -> str:
    """The condition that `wanted` lets the document `d` through."""
    if isinstance(wanted, Not):
        return f"(NOT {filtered(db, wanted.operand, types, arguments)})"
    if isinstance(wanted, Junction):
        parts = [filtered(db, part, types, arguments) for part in wanted.operands]
        return f"({f' {wanted.kind.upper()} '.join(parts)})"
    found = (
        "EXISTS (SELECT 1 FROM search_values v WHERE v.document = d.position "
        f"AND v.field = {arguments.add(wanted.field)} AND {_compared(db, wanted, arguments)})"
    )
    return f"(NOT {found})" if wanted.operator == "ne" else f"({found})"


def sorted_by(orders: Sequence[Order], types: Mapping[str, type], arguments: Arguments) -> tuple[str, str]:
    """Columns to select from `d`, and the keys over them as ``found``; what has no value comes last."""
    columns = keys = ""
    for at, order in enumerate(orders):
        pick = "max" if order.descending else "min"
        column = "text" if types[order.field] in (str, UUID) else "number"
        columns += (
            f", (SELECT {pick}(v.{column}) FROM search_values v "
            f"WHERE v.document = d.position AND v.field = {arguments.add(order.field)}) AS key{at}"
        )
        keys += f"(found.key{at} IS NULL), found.key{at}{' DESC' if order.descending else ''}, "
    return columns, keys


def _compared(db: Database, wanted: Comparison, arguments: Arguments) -> str:
    value, operator = wanted.value, wanted.operator
    if operator == "pr":
        return "1 = 1"
    if operator in ("co", "sw", "ew"):
        if not value:
            return "1 = 1"
        part = arguments.add(value)
        if operator == "co":
            return f"{inside(db, 'v.text', part)} > 0"
        if operator == "sw":
            return f"substr(v.text, 1, {len(value)}) = {part}"
        return f"length(v.text) >= {len(value)} AND substr(v.text, length(v.text) - {len(value) - 1}) = {part}"
    sign = _SIGNS["eq" if operator == "ne" else operator]
    if isinstance(value, str):
        return f"v.text {sign} {arguments.add(value[:MAX_VALUE])}"
    if isinstance(value, UUID):
        return f"v.text {sign} {arguments.add(str(value))}"
    return f"v.number {sign} {arguments.add(_number(value))}"


def _number(value: Any) -> float:
    if isinstance(value, datetime):
        return moment(value)
    return float(value.toordinal() if isinstance(value, date) else value)
