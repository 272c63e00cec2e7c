"""Errors of a database that a service reacts to, the same for every database."""

from __future__ import annotations

from collections.abc import Sequence


class UniqueViolation(Exception):
    """A row with these values exists already; the statement had no effect, its transaction can only be rolled back.

    `table` and `columns` name what must be unique, `constraint` is its name where the database tells it. `columns` is
    empty for a unique index over expressions. No values are kept: they may be personal.
    """

    def __init__(self, table: str = "", columns: Sequence[str] = (), constraint: str = "") -> None:
        self.table = table
        self.columns = tuple(columns)
        self.constraint = constraint
        super().__init__(f"not unique: {table}({', '.join(columns) or constraint})")
