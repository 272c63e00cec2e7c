"""Entity tags of profiles and preferences (RFC 9110, section 8.8.3), as pure functions."""

from __future__ import annotations

import hashlib
import re
from uuid import UUID

from orion_core.contracts.users import Preference, Profile

_STRONG = re.compile(r'(?:^|,)\s*"([\x21\x23-\x7e\x80-\xff]*)"\s*(?=,|$)')


def etag(profile: Profile) -> str:
    """The strong entity tag of `profile`: its version, and whose it is, as ``/me`` is another profile for everybody."""
    return f'"{profile.version}-{profile.user_id.hex}"'


def preference_etag(user_id: UUID, preference: Preference) -> str:
    """The strong entity tag of a person's `preference`; a default has one by its value."""
    # The key's own history: a default that another release changes has version 0 all the same.
    content = hashlib.sha256(f"{preference.type} {preference.value.text}".encode()).hexdigest()[:12]
    return f'"{preference.version}-{content}-{user_id.hex}"'


def matches(if_match: str, tag: str) -> bool:
    """Whether the If-Match header `if_match` names `tag` (section 13.1.1); weak tags never do."""
    return if_match.strip() == "*" or tag.strip('"') in _STRONG.findall(if_match)
