"""Secrets at rest open in their own place alone."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orion_core.keyring import Key, Keyring
from orion_core.sealing import Unsealable, Where, open_, seal

RING = Keyring.generate()
HERE = Where("webhook_secrets", "0190f5a0", "sealed")


@given(st.binary(max_size=200))
def test_what_was_sealed_opens_again(plaintext: bytes) -> None:
    """A60."""
    assert open_(RING, HERE, seal(RING, HERE, plaintext)) == plaintext


def test_the_same_secret_is_sealed_differently_each_time() -> None:
    """A60: a 96-bit nonce from the system's random source."""
    assert len({seal(RING, HERE, b"secret") for _ in range(50)}) == 50
    assert b"secret" not in seal(RING, HERE, b"secret").encode()


@pytest.mark.parametrize("field", ["table", "row", "column"])
def test_a_sealed_text_that_was_moved_does_not_open(field: str) -> None:
    """A60: table, row, column and key id are associated data."""
    sealed = seal(RING, HERE, b"secret")

    with pytest.raises(Unsealable, match="changed or moved"):
        open_(RING, attrs.evolve(HERE, **{field: "other"}), sealed)


def test_a_sealed_text_that_was_changed_does_not_open() -> None:
    """A60."""
    sealed = seal(RING, HERE, b"secret")
    head, _, text = sealed.rpartition(".")

    for position in range(len(text)):
        changed = text[:position] + ("A" if text[position] != "A" else "B") + text[position + 1 :]
        with pytest.raises(Unsealable):
            open_(RING, HERE, f"{head}.{changed}")
    for other in ("", "v1", "v1..", "v2" + sealed[2:], head, f"{head}.", f"{head}.!!", f"{head}.AAAA", "secret"):
        with pytest.raises(Unsealable):
            open_(RING, HERE, other)


def test_older_keys_of_the_keyring_still_open() -> None:
    """A60: the first key seals, every key opens."""
    sealed = seal(RING, HERE, b"secret")
    newer = attrs.evolve(RING, encryption=(Key("newer", b"n" * 32), *RING.encryption))

    assert open_(newer, HERE, sealed) == b"secret"
    assert seal(newer, HERE, b"secret").startswith("v1.newer.")
    with pytest.raises(Unsealable, match="put it back"):
        open_(RING, HERE, seal(newer, HERE, b"secret"))
