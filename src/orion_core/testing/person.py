"""A person in a test: an account with its tokens."""

from __future__ import annotations

from uuid import UUID

import attrs


@attrs.frozen
class Person:
    """An account that was made for the test, signed in."""

    id: UUID
    email: str
    password: str
    access_token: str = attrs.field(repr=False)
    refresh_token: str = attrs.field(repr=False)

    @property
    def headers(self) -> dict[str, str]:
        """The headers with which this person asks."""
        return {"authorization": f"Bearer {self.access_token}"}
