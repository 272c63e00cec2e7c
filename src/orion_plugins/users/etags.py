"""Entity tags of profiles (RFC 9110, section 8.8.3), as pure functions."""

from __future__ import annotations

import re

from orion_core.contracts.users import Profile

_STRONG = re.compile(r'(?:^|,)\s*"([\x21\x23-\x7e\x80-\xff]*)"\s*(?=,|$)')


def etag(profile: Profile) -> str:
    """The strong entity tag of `profile`: its version, and whose it is, as ``/me`` is another profile for everybody."""
    return f'"{profile.version}-{profile.user_id.hex}"'


def matches(if_match: str, profile: Profile) -> bool:
    """Whether the If-Match header `if_match` names `profile` as it is (section 13.1.1); weak tags never do."""
    return if_match.strip() == "*" or etag(profile).strip('"') in _STRONG.findall(if_match)
