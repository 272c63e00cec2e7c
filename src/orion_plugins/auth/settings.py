"""The settings of auth, as ``ORION_AUTH_*``."""

from __future__ import annotations

from datetime import timedelta

import attrs

_LONGEST = timedelta(days=3650)


def _reasonable(_: object, attribute: attrs.Attribute[timedelta], given: timedelta) -> None:
    # Without an upper limit a slip of a few zeros gives times that no calendar holds, at the first sign-in.
    if not timedelta(0) < given <= _LONGEST:
        raise ValueError(f"{attribute.name} must be more than 0 and at most {_LONGEST.total_seconds():.0f} seconds")


@attrs.frozen(kw_only=True)
class AuthSettings:
    """How long tokens live, and how many passwords may wait to be hashed. Times are in seconds."""

    access_ttl: timedelta = attrs.field(
        default=timedelta(hours=1), validator=_reasonable, metadata={"help": "life of an access token"}
    )
    refresh_idle: timedelta = attrs.field(
        default=timedelta(days=7),
        validator=_reasonable,
        metadata={"help": "a session ends without a refresh for so long"},
    )
    refresh_absolute: timedelta = attrs.field(
        default=timedelta(days=30), validator=_reasonable, metadata={"help": "a session ends so long after the sign-in"}
    )
    hashing_queue: int = attrs.field(
        default=128, validator=attrs.validators.ge(0), metadata={"help": "passwords that may wait; beyond that 503"}
    )
