"""How referrals keeps its promise."""

import unicodedata
from uuid import UUID

import attrs
from piccolo.columns.combination import And

from acme_referrals.contract import FriendJoined, Invite, Invites, NewInvite, Referrals, TooManyOpen, Totals
from acme_referrals.settings import ReferralsSettings
from acme_referrals.tables import ReferralsInvite
from orion_core import Authorization, Clock, Database, Events, current, new_id, on
from orion_core.contracts.auth import UserRegistered

_ONCE = (ReferralsInvite.user_id, ReferralsInvite.email)


@attrs.frozen
class ReferralsService(Referrals):
    """The fields are its needs: the platform fills them by type, a test by hand."""

    db: Database
    events: Events
    clock: Clock
    settings: ReferralsSettings
    authz: Authorization

    async def invite(self, data: NewInvite) -> Invite:
        user_id, email = current().actor.user_id, _same(data.email)
        async with self.db.transaction():
            row = await _find(user_id, email)
            if row is None:
                await self._check_open(user_id)
                row = ReferralsInvite(id=new_id(), user_id=user_id, email=email, invited_at=self.clock.now())
                # A second window may be inviting the same address right now: then its row counts.
                new = ReferralsInvite.insert(row).on_conflict(target=_ONCE, action="DO NOTHING")
                if not await new.returning(ReferralsInvite.id):
                    row = await _find(user_id, email) or row
        return _invite(row)

    async def mine(self) -> Invites:
        mine = ReferralsInvite.user_id == current().actor.user_id
        rows = await ReferralsInvite.objects().where(mine).order_by(ReferralsInvite.id, ascending=False)
        return Invites(items=tuple(map(_invite, rows)))

    async def totals(self) -> Totals:
        await self.authz.require("referrals:read")
        return Totals(
            invited=await ReferralsInvite.count(),
            joined=await ReferralsInvite.count().where(ReferralsInvite.joined_at.is_not_null()),
        )

    @on(UserRegistered)
    async def note_friend(self, event: UserRegistered) -> None:
        """Runs in one transaction with the platform's own note of the delivery: once, however often it is told."""
        waiting = And(ReferralsInvite.email == _same(event.email), ReferralsInvite.joined_at.is_null())
        joined = ReferralsInvite.update(friend_id=event.user_id, joined_at=event.registered_at).where(waiting)
        for row in await joined.returning(ReferralsInvite.user_id):
            await self.events.publish(FriendJoined(user_id=row["user_id"], friend_id=event.user_id))

    async def _check_open(self, user_id: UUID) -> None:
        most = self.settings.most_open
        waiting = And(ReferralsInvite.user_id == user_id, ReferralsInvite.joined_at.is_null())
        if await ReferralsInvite.count().where(waiting) >= most:
            raise TooManyOpen(f"you wait for {most} people already")


async def _find(user_id: UUID, email: str) -> ReferralsInvite | None:
    where = And(ReferralsInvite.user_id == user_id, ReferralsInvite.email == email)
    return await ReferralsInvite.objects().where(where).first()


def _same(email: str) -> str:
    return unicodedata.normalize("NFKC", email.strip()).lower()


def _invite(row: ReferralsInvite) -> Invite:
    return Invite(id=row.id, email=row.email, invited_at=row.invited_at, joined_at=row.joined_at)
