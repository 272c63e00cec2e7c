"""What users stores."""

from __future__ import annotations

from piccolo.columns import UUID, BigInt, Integer, Text, Timestamptz, Varchar
from piccolo.table import Table

ACTIVE = "active"
"""The `state` of a profile that can be seen."""
PENDING = "pending"
"""The `state` of a profile whose account is known by a later event only: the registration is still on its way."""
ERASED = "erased"
"""The `state` of a tombstone: nothing but ids and times are left, and no late news bring the person back."""


class UserProfile(Table, tablename="user_profiles"):
    """One person, or the tombstone of one.

    `email` is a copy: auth alone decides about addresses, and `email_version` is the account's version that it came
    with, 0 for one given by hand. `email_key` and `name_key` are folded, for finding by their beginning. `version`
    counts the changes of the profile and `preferences_version` those of the preferences. `picture_id` is the avatar in
    storage.
    """

    id = UUID(primary_key=True, default=None)
    user_id = UUID(unique=True, default=None)
    email = Text()
    email_key = Text()
    name = Text()
    name_key = Text()
    first_name = Text()
    last_name = Text()
    bio = Text()
    picture_id = UUID(null=True, default=None)
    locale = Text()
    time_zone = Text()
    state = Varchar(16, default=ACTIVE)
    version = Integer(default=1)
    email_version = Integer(default=1)
    preferences_version = BigInt(default=0)
    created_at = Timestamptz(default=None)
    updated_at = Timestamptz(default=None)
    erased_at = Timestamptz(default=None, null=True)


class UserPreference(Table, tablename="user_preferences"):
    """One preference that a person set. `value` is JSON text, so that numbers stay exact on every database.

    `version` is the person's `preferences_version` of the change: it never comes again, also after a removal.
    """

    id = UUID(primary_key=True, default=None)
    user_id = UUID(default=None)
    key = Varchar(128)
    value = Text()
    type = Varchar(16)
    version = BigInt()
    updated_at = Timestamptz(default=None)


class UserActivity(Table, tablename="user_activity"):
    """Something a person did, or that happened to them: append-only. For facts of other services `id` is the event's,
    so that one told twice adds nothing."""

    id = UUID(primary_key=True, default=None)
    user_id = UUID(default=None)
    action = Varchar(100)
    metadata = Text(default="{}")
    timestamp = Timestamptz(default=None)
    actor = Varchar(128)
    ip_address = Varchar(64)
    user_agent = Varchar(512)
    correlation_id = Varchar(64)


class UserAccessLog(Table, tablename="user_access_log"):
    """Somebody read personal `fields` (a JSON list) of somebody else: append-only."""

    id = UUID(primary_key=True, default=None)
    subject_id = UUID(default=None)
    actor = Varchar(128)
    fields = Text()
    purpose = Varchar(100)
    correlation_id = Varchar(64)
    at = Timestamptz(default=None)
