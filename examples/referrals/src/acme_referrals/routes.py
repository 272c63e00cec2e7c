"""`/api/v1/referrals`."""

from litestar import Controller, get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from acme_referrals.contract import Invite, Invites, NewInvite, Referrals, Totals
from orion_core.web import needs, signed_in


class ReferralRoutes(Controller):
    """Invites."""

    path = "/api/v1/referrals"
    tags = ("referrals",)

    @post("/", opt=signed_in(), operation_id="referrals_invite", summary="Invite somebody")
    async def invite(self, referrals: NamedDependency[Referrals], data: JSONBody[NewInvite]) -> Invite:
        """An address that you have invited before gives the same invite again."""
        return await referrals.invite(data)

    @get("/", opt=signed_in(), operation_id="referrals_mine", summary="Whom you have invited")
    async def mine(self, referrals: NamedDependency[Referrals]) -> Invites:
        """Newest first, with the time when they joined."""
        return await referrals.mine()

    @get("/admin/totals", opt=needs("referrals:read"), operation_id="referrals_totals", summary="How invites turn out")
    async def totals(self, referrals: NamedDependency[Referrals]) -> Totals:
        """Counts over everybody."""
        return await referrals.totals()
