"""The settings of auth, as ``ORION_AUTH_*``."""

from __future__ import annotations

from datetime import timedelta

import attrs

from orion_plugins.auth.breached_passwords import BreachedPasswords
from orion_plugins.auth.redirects import place

IMMEDIATE, VERIFIED = "immediate", "verified"
_LONGEST = timedelta(days=3650)
_LONGEST_GRACE = timedelta(seconds=60)


def _reasonable(_: object, attribute: attrs.Attribute[timedelta], given: timedelta) -> None:
    # Without an upper limit a slip of a few zeros gives times that no calendar holds, at the first sign-in.
    if not timedelta(0) < given <= _LONGEST:
        raise ValueError(f"{attribute.name} must be more than 0 and at most {_LONGEST.total_seconds():.0f} seconds")


def _window(_: object, attribute: attrs.Attribute[timedelta], given: timedelta) -> None:
    if not timedelta(0) <= given <= _LONGEST_GRACE:
        raise ValueError(f"{attribute.name} must be from 0 to {_LONGEST_GRACE.total_seconds():.0f} seconds")


def _is_registration(_: object, attribute: attrs.Attribute[str], given: str) -> None:
    if given not in (IMMEDIATE, VERIFIED):
        raise ValueError(f"{attribute.name} must be {IMMEDIATE} or {VERIFIED}, not {given!r}")


def _are_places(_: object, attribute: attrs.Attribute[tuple[str, ...]], given: tuple[str, ...]) -> None:
    for each in given:
        if place(each) is None or "?" in each or "*" in each:
            raise ValueError(
                f"{attribute.name} must hold addresses like https://app.example.org/account in lower case, "
                f"without patterns, not {each!r}"
            )


def _is_list_of_digests(_: object, attribute: attrs.Attribute[str], given: str) -> None:
    if given and (problem := BreachedPasswords(given).problem()):
        raise ValueError(f"{attribute.name}: {problem}")


def _at_most_an_hour(_: object, attribute: attrs.Attribute[timedelta], given: timedelta) -> None:
    if given > timedelta(hours=1):
        raise ValueError(f"{attribute.name} must be at most 3600 seconds")


@attrs.frozen(kw_only=True)
class AuthSettings:
    """How long tokens and keys live, what may be tried how often, and who may open accounts. Times are in seconds."""

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
    refresh_grace: timedelta = attrs.field(
        default=timedelta(seconds=10),
        validator=_window,
        metadata={"help": "a refresh that comes again within so long is a retry and gets the same tokens; 0 to 60"},
    )
    hashing_queue: int = attrs.field(
        default=128, validator=attrs.validators.ge(0), metadata={"help": "passwords that may wait; beyond that 503"}
    )
    api_key_lifetime: timedelta = attrs.field(
        default=timedelta(days=400), validator=_reasonable, metadata={"help": "the longest life of an API key"}
    )
    api_keys_each: int = attrs.field(
        default=50, validator=attrs.validators.ge(0), metadata={"help": "API keys that one person may have"}
    )
    registration: str = attrs.field(
        default=IMMEDIATE,
        validator=_is_registration,
        metadata={"help": "immediate: an account opens at once; verified: when its address is confirmed by mail"},
    )
    product: str = attrs.field(default="ORION", metadata={"help": "name of the product, which no password may contain"})
    breached_passwords: str = attrs.field(
        default="",
        validator=_is_list_of_digests,
        metadata={"help": "file of sorted SHA-1 prefixes of passwords that nobody may choose"},
    )
    redirects: tuple[str, ...] = attrs.field(
        default=(),
        validator=_are_places,
        metadata={"help": "addresses (scheme, host, port and beginning of the path) to which mailed steps may lead"},
    )
    failures_per_account: int = attrs.field(
        default=5,
        validator=attrs.validators.ge(1),
        metadata={"help": "failed sign-ins in 15 minutes after which an account's next ones have to wait"},
    )
    failures_per_address: int = attrs.field(
        default=30,
        validator=attrs.validators.ge(1),
        metadata={"help": "the same for one network address, behind which there may be many people"},
    )
    mails_per_minute: int = attrs.field(
        default=1,
        validator=attrs.validators.ge(1),
        metadata={"help": "mails that may be asked for in a minute, to one mailbox and by one network address"},
    )
    mails_per_hour: int = attrs.field(
        default=5, validator=attrs.validators.ge(1), metadata={"help": "the same for an hour"}
    )
    reset_ttl: timedelta = attrs.field(
        default=timedelta(minutes=30), validator=_reasonable, metadata={"help": "life of a link that resets a password"}
    )
    verification_ttl: timedelta = attrs.field(
        default=timedelta(hours=24),
        validator=_reasonable,
        metadata={"help": "life of a link that confirms an address"},
    )
    code_ttl: timedelta = attrs.field(
        default=timedelta(minutes=10), validator=_reasonable, metadata={"help": "life of a mailed code"}
    )
    revert_ttl: timedelta = attrs.field(
        default=timedelta(days=7),
        validator=_reasonable,
        metadata={"help": "life of a link that undoes a change of address"},
    )
    key_rotation: timedelta = attrs.field(
        default=timedelta(days=90),
        validator=_reasonable,
        metadata={"help": "a new key signs access tokens after so long"},
    )
    admin_factor: bool = attrs.field(
        default=False,
        metadata={"help": "administrators have no rights before they signed in with a second factor"},
    )
    impersonation_ttl: timedelta = attrs.field(
        default=timedelta(hours=1),
        validator=attrs.validators.and_(_reasonable, _at_most_an_hour),
        metadata={"help": "an administrator acts as somebody else for so long, at most an hour"},
    )
