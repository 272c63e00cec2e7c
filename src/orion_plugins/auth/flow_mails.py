"""The mails of mailed steps: a job opens what is sealed, hands it to notifications, and forgets it."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from orion_core.contracts.notifications import MailOrder, Notifications, Variable
from orion_core.settings import Settings
from orion_plugins.auth.flow_kinds import KINDS, Kind
from orion_plugins.auth.flows import Flows
from orion_plugins.auth.settings import AuthSettings
from orion_plugins.auth.tables import Flow

_UNITS = ((timedelta(days=2), timedelta(days=1), "days"), (timedelta(hours=2), timedelta(hours=1), "hours"))


class FlowMails:
    """Orders the mail of a step. Links begin with the configured URL, whatever a request said about itself."""

    def __init__(self, flows: Flows, notifications: Notifications, settings: AuthSettings, platform: Settings) -> None:
        self._flows = flows
        self._notifications = notifications
        self._settings = settings
        self._base = f"{base_url(platform)}/api/v1/auth"

    async def send(self, flow_id: UUID, now: datetime) -> None:
        """Order the mail, once: the step's id is its key. Raises `Unavailable` while notifications is away."""
        flow = await Flow.objects().where(Flow.id == flow_id).first()
        if flow is None:
            return  # a newer one came, or its account is gone
        kind = KINDS[flow.kind]
        secret = self._flows.secret(flow)
        if kind.template and flow.expires_at > now and flow.used_at is None and (secret or not kind.path):
            await self._notifications.order_mail(self._order(flow, kind, secret))
        if kind.path:
            await Flow.update({Flow.secret: ""}).where(Flow.id == flow_id)
        else:
            await Flow.delete().where(Flow.id == flow_id)

    def _order(self, flow: Flow, kind: Kind, secret: dict[str, str]) -> MailOrder:
        shown = {
            "email": self._flows.payload(flow).get("email", flow.email),
            "lifetime": lifetime(kind.life(self._settings)),
            "code_lifetime": lifetime(self._settings.code_ttl),
        }
        hidden = {"link": f"{self._base}{kind.path}?token={secret['token']}"} if secret else {}
        if "code" in secret:
            hidden["code"] = secret["code"]
        return MailOrder(
            key=str(flow.id),
            template=kind.template,
            recipient=flow.email,
            user_id=flow.user_id,
            variables=tuple(Variable(name, text) for name, text in shown.items()),
            secrets=tuple(Variable(name, text) for name, text in hidden.items()),
        )


def base_url(platform: Settings) -> str:
    """The URL under which people reach the platform, as configured; without one, where it listens by default."""
    return (platform.public_url or f"http://{platform.host}:{platform.port or 3000}").rstrip("/")


def lifetime(span: timedelta) -> str:
    """`span` for people, rounded down: ``30 minutes``, ``24 hours``, ``7 days``."""
    for least, unit, word in _UNITS:
        if span >= least:
            return f"{span // unit} {word}"
    minutes = max(1, span // timedelta(minutes=1))
    return "1 minute" if minutes == 1 else f"{minutes} minutes"
