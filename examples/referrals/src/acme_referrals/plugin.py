"""Referrals described as data: the only thing that ORION looks for."""

from acme_referrals.routes import ReferralRoutes
from acme_referrals.service import ReferralsService
from acme_referrals.settings import ReferralsSettings
from acme_referrals.tables import ReferralsInvite
from orion_core import Plugin, hookimpl


@hookimpl
def orion_plugin() -> Plugin:
    """People invite people."""
    return Plugin(
        "referrals",
        service=ReferralsService,
        routes=[ReferralRoutes],
        tables=[ReferralsInvite],
        migrations="acme_referrals.migrations",
        settings=ReferralsSettings,
        permissions=["referrals:read"],
        port=3100,
    )
