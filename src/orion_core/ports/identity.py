"""Identity: turns a bearer token into an actor, be it an access token or an API key.

Guarantees: a token that is forged, expired, revoked or of another issuer never yields an actor; a revocation is noticed
at once where its event arrives and after 60 s at the latest. Every service verifies for itself.
"""

from __future__ import annotations

from typing import Protocol

from orion_core.context import Actor


class Identity(Protocol):
    """Verifies access tokens and API keys."""

    async def verify(self, token: str) -> Actor:
        """The person behind `token`, with roles and permissions.

        Raises `Unauthenticated` for a token that does not count and `Unavailable` when that cannot be decided.
        """
        ...
