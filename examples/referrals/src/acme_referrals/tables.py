"""What referrals stores."""

from piccolo.columns import UUID, Text, Timestamptz
from piccolo.table import Table


class ReferralsInvite(Table, tablename="referrals_invites"):
    """One invite: of an address, by a person, once."""

    id = UUID(primary_key=True, default=None)
    user_id = UUID(default=None)
    email = Text()
    invited_at = Timestamptz(default=None)
    friend_id = UUID(default=None, null=True)
    joined_at = Timestamptz(default=None, null=True)
