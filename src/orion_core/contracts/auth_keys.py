"""The keys that sign access tokens: which there are, and how they follow each other."""

from __future__ import annotations

import abc
from datetime import datetime

from orion_core.contract import raises, repeatable
from orion_core.errors import Conflict
from orion_core.values import value


@value
class SigningKeyState:
    """One signing key. `state` is next (published, does not sign yet), signing, verifying (signed before) or retired.

    It signs from `signs_from`; its signatures count until `verifies_until`, None for the newest key.
    """

    kid: str
    state: str
    created_at: datetime
    signs_from: datetime
    verifies_until: datetime | None


class RotatedMeanwhile(Conflict):
    """Another process introduced a new signing key at the same moment."""

    code = "auth.rotated_meanwhile"


class KeyOperations(abc.ABC):
    """Signing keys, for operators."""

    @repeatable
    @abc.abstractmethod
    async def signing_keys(self) -> tuple[SigningKeyState, ...]:
        """Every signing key there was, newest first; needs the permission `keys:read`."""

    @raises(RotatedMeanwhile)
    @abc.abstractmethod
    async def rotate_signing_key(self) -> SigningKeyState:
        """Introduce a new signing key; needs the permission `keys:write`.

        It is published at once and signs after the time for which verifiers keep the keys they know.
        """
