"""The successor of a spent refresh token: the pair that its use gave, sealed in the row of the spent token."""

from __future__ import annotations

import json
from uuid import UUID

import attrs

from orion_core.keyring import Keyring
from orion_core.sealing import Where, open_, seal


@attrs.frozen
class Successor:
    """A pair of tokens."""

    access_token: str = attrs.field(repr=False)
    refresh_token: str = attrs.field(repr=False)


def seal_successor(keyring: Keyring, spent_id: UUID, successor: Successor) -> str:
    """`successor` as text that opens in the row `spent_id` only."""
    return seal(keyring, _where(spent_id), json.dumps([successor.access_token, successor.refresh_token]).encode())


def open_successor(keyring: Keyring, spent_id: UUID, sealed: str) -> Successor:
    """What `seal_successor` was given; raises `Unsealable`."""
    return Successor(*json.loads(open_(keyring, _where(spent_id), sealed)))


def _where(spent_id: UUID) -> Where:
    return Where("refresh_tokens", str(spent_id), "successor")
