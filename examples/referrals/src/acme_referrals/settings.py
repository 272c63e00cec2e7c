"""Settings of referrals: ``ORION_REFERRALS_*``."""

import attrs


@attrs.frozen(kw_only=True)
class ReferralsSettings:
    """How much a person may invite."""

    most_open: int = attrs.field(default=20, metadata={"help": "invites that a person may have open at once"})
