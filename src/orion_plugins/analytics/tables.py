"""What analytics stores."""

from __future__ import annotations

from piccolo.columns import UUID, BigInt, Date, Varchar
from piccolo.table import Table


class AnalyticsCount(Table, tablename="analytics_counts"):
    """How often something happened on one day (UTC): one row for each metric and day."""

    id = UUID(primary_key=True, default=None)
    metric = Varchar(200)
    day = Date(default=None)
    # Not called `count`, as a table of Piccolo has a method of that name.
    total = BigInt(db_column_name="count")
