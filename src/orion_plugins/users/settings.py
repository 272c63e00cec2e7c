"""The settings of users, as ``ORION_USERS_*``."""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class UsersSettings:
    """What people may see of each other."""

    public_profiles: bool = attrs.field(
        default=False, metadata={"help": "show id, name and avatar of everybody to whoever is signed in"}
    )
