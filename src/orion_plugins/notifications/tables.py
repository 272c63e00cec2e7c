"""What notifications stores.

A fact leads to one notification, which is what the person sees in the application, and to one delivery for each other
channel, which a job carries out. Both know the event, so that a fact told twice leads to nothing new.
"""

from __future__ import annotations

from piccolo.columns import UUID, Integer, Text, Timestamptz, Varchar
from piccolo.table import Table


class Notification(Table, tablename="notifications"):
    """One notice to one person. `status` is that of its own channel, ``in_app``, where it is sent by being written."""

    id = UUID(primary_key=True, default=None)
    event_id = Varchar(64)
    user_id = UUID(default=None)
    type = Varchar(100)
    channel = Varchar(30, default="in_app")
    status = Varchar(20)
    title = Text()
    body = Text()
    correlation_id = Text()
    created_at = Timestamptz(default=None, index=True)
    sent_at = Timestamptz(default=None, null=True)
    seen_at = Timestamptz(default=None, null=True)
    read_at = Timestamptz(default=None, null=True)
    archived_at = Timestamptz(default=None, null=True)


class NotificationDelivery(Table, tablename="notification_deliveries"):
    """One message by one channel to one address.

    `status` is queued, sending, sent, deferred (to be tried again), failed (refused for good) or dead (given up).
    `template_version` pins what is rendered; `variables` is a JSON object, `secrets` a sealed one, which is blank as
    soon as the delivery is over. A mail that another service ordered has no notification but its own id in its place.
    """

    id = UUID(primary_key=True, default=None)
    event_id = Varchar(64)
    notification_id = UUID(default=None, index=True)
    user_id = UUID(default=None)
    type = Varchar(100)
    channel = Varchar(30)
    address = Text()
    template = Varchar(100)
    template_version = Integer()
    variables = Text()
    secrets = Text(default="", secret=True)
    status = Varchar(20)
    attempts = Integer()
    message_id = Text()
    last_error = Text()
    correlation_id = Text()
    created_at = Timestamptz(default=None, index=True)
    sent_at = Timestamptz(default=None, null=True)


class NotificationHistory(Table, tablename="notification_history"):
    """One change of a delivery's status: append-only."""

    id = UUID(primary_key=True, default=None)
    delivery_id = UUID(default=None, index=True)
    notification_id = UUID(default=None)
    user_id = UUID(default=None)
    channel = Varchar(30)
    status = Varchar(20)
    attempt = Integer()
    message_id = Text()
    detail = Text()
    correlation_id = Text()
    at = Timestamptz(default=None, index=True)


class NotificationTombstone(Table, tablename="notification_tombstones"):
    """A person who was erased: news of them that come late lead to nothing."""

    user_id = UUID(primary_key=True, default=None)
    erased_at = Timestamptz(default=None)
