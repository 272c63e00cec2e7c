"""A column that Piccolo does not have."""

from __future__ import annotations

from typing import Any, overload

from piccolo.columns import BigSerial
from piccolo.table import Table


class Position(BigSerial):
    """A primary key that only grows: no number is given twice, even after the newest rows were deleted.

    SQLite's plain primary key would start again once the table is empty.
    """

    @property
    def ddl(self) -> str:
        """The column's definition in CREATE TABLE."""
        name = f'"{self._meta.db_column_name}"'
        if self._meta.engine_type == "sqlite":
            return f"{name} INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL"
        return f"{name} BIGSERIAL PRIMARY KEY NOT NULL"

    @overload
    def __get__(self, obj: Table, objtype: Any = None) -> int: ...

    @overload
    def __get__(self, obj: None, objtype: Any = None) -> Position: ...

    def __get__(self, obj: Any, objtype: Any = None) -> Any:
        """The column on the class, the value on a row."""
        return obj.__dict__[self._meta.name] if obj else self
