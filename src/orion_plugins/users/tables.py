"""What users stores."""

from __future__ import annotations

from piccolo.columns import UUID, Integer, Text, Timestamptz
from piccolo.table import Table


class UserProfile(Table, tablename="user_profiles"):
    """One person.

    `email` is a copy: auth alone decides about addresses, and `email_version` is the account's version that it came
    with. `version` counts the changes of the profile. `avatar_url` stays empty as long as there is no avatar.
    """

    id = UUID(primary_key=True, default=None)
    user_id = UUID(unique=True, default=None)
    email = Text()
    name = Text()
    first_name = Text()
    last_name = Text()
    bio = Text()
    avatar_url = Text()
    locale = Text()
    time_zone = Text()
    version = Integer(default=1)
    email_version = Integer(default=1)
    created_at = Timestamptz(default=None)
    updated_at = Timestamptz(default=None)
