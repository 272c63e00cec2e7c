"""What webhooks stores.

An event leads to one message, and to one delivery for each endpoint that asked for its type; each try of a delivery
is an attempt.
"""

from __future__ import annotations

from piccolo.columns import UUID, Boolean, Integer, Text, Timestamptz, Varchar
from piccolo.table import Table


class WebhookEndpoint(Table, tablename="webhook_endpoints"):
    """One address. `event_types` is a JSON list."""

    id = UUID(primary_key=True, default=None)
    url = Text()
    event_types = Text()
    description = Text()
    enabled = Boolean(default=True)
    disabled_reason = Text()
    created_by = UUID(default=None, null=True)
    created_at = Timestamptz(default=None)
    updated_at = Timestamptz(default=None)


class WebhookSecret(Table, tablename="webhook_secrets"):
    """One secret of an endpoint, sealed. It signs until `expires_at`; the one in use has none."""

    id = UUID(primary_key=True, default=None)
    endpoint_id = UUID(default=None, index=True)
    sealed = Text()
    created_at = Timestamptz(default=None)
    expires_at = Timestamptz(default=None, null=True)


class WebhookMessage(Table, tablename="webhook_messages"):
    """What is sent: `payload` is the body, byte for byte in UTF-8, empty once it was removed."""

    id = UUID(primary_key=True, default=None)
    event_id = Varchar(64, unique=True)
    type = Varchar(200)
    payload = Text()
    correlation_id = Text()
    created_at = Timestamptz(default=None, index=True)


class WebhookDelivery(Table, tablename="webhook_deliveries"):
    """One message for one endpoint.

    `attempts` counts every try and `step` the used delays of the schedule. `turn` grows with every manual try: a
    scheduled one of an earlier turn is void.
    """

    id = UUID(primary_key=True, default=None)
    message_id = UUID(default=None, index=True)
    endpoint_id = UUID(default=None)
    type = Varchar(200)
    status = Varchar(20)
    detail = Text()
    test = Boolean(default=False)
    attempts = Integer()
    step = Integer()
    turn = Integer()
    last_status = Integer(default=None, null=True)
    next_attempt_at = Timestamptz(default=None, null=True)
    created_at = Timestamptz(default=None, index=True)
    finished_at = Timestamptz(default=None, null=True)


class WebhookAttempt(Table, tablename="webhook_attempts"):
    """One try of a delivery; `outcome` stays `started` if the process died meanwhile."""

    id = UUID(primary_key=True, default=None)
    delivery_id = UUID(default=None)
    endpoint_id = UUID(default=None)
    number = Integer()
    manual = Boolean(default=False)
    outcome = Varchar(20)
    status_code = Integer(default=None, null=True)
    latency_ms = Integer(default=None, null=True)
    address = Text()
    excerpt = Text()
    error = Text()
    at = Timestamptz(default=None, index=True)
