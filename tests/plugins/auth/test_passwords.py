"""Passwords at rest."""

from __future__ import annotations

import unicodedata

import bcrypt
import pytest

from orion_core.contracts.auth import PasswordTooLong
from orion_core.errors import Invalid
from orion_core.keyring import Key
from orion_plugins.auth.passwords import check_new_password, decoy, hash_password, needs_rehash, verify_password

PEPPER = Key("k1", b"p" * 32)
OTHER = Key("k2", b"q" * 32)

AS_TYPED = [
    pytest.param("😀" * 64, "😀" * 63 + "😁", id="64 emoji of 256 bytes"),
    pytest.param("before\x00after", "before", id="a NUL"),
    pytest.param(" blanks around ", "blanks around", id="leading and trailing blanks"),
    pytest.param(unicodedata.normalize("NFC", "passwörd"), unicodedata.normalize("NFD", "passwörd"), id="NFC, not NFD"),
    pytest.param(unicodedata.normalize("NFD", "passwörd"), unicodedata.normalize("NFC", "passwörd"), id="NFD, not NFC"),
    pytest.param("a" * 199 + "b", "a" * 199 + "c", id="200 bytes that differ at the end"),
]


def test_a_stored_password_carries_scheme_pepper_and_ten_rounds() -> None:
    """A1."""
    stored = hash_password("correct horse", PEPPER)

    scheme, kid, variant, rounds, rest = stored.replace("$", " ").split()
    assert (scheme, kid, variant, rounds) == ("orion1", "k1", "2b", "10")
    assert len(rest) == 53


@pytest.mark.parametrize(("typed", "similar"), AS_TYPED)
def test_a_password_verifies_exactly_as_typed(typed: str, similar: str) -> None:
    """A2."""
    stored = hash_password(typed, PEPPER)

    assert verify_password(typed, stored, [PEPPER])
    assert not verify_password(similar, stored, [PEPPER])


def test_the_pepper_with_the_stored_id_is_used_whichever_comes_first() -> None:
    """A1."""
    stored = hash_password("correct horse", PEPPER)

    assert verify_password("correct horse", stored, [OTHER, PEPPER])
    assert not verify_password("correct horse", stored, [OTHER])
    assert not verify_password("correct horse", stored, [Key("k1", b"x" * 32)])


def test_a_hash_is_renewed_when_its_scheme_pepper_or_rounds_are_old() -> None:
    """A1."""
    plain = bcrypt.hashpw(b"correct horse", bcrypt.gensalt(10)).decode()
    weak = f"orion1$k1{bcrypt.hashpw(b'x', bcrypt.gensalt(4)).decode()}"

    assert not needs_rehash(hash_password("correct horse", PEPPER), PEPPER)
    assert needs_rehash(hash_password("correct horse", PEPPER), OTHER)
    assert needs_rehash(plain, PEPPER)
    assert needs_rehash(weak, PEPPER)


@pytest.mark.parametrize("prefix", [b"2a", b"2b"])
def test_plain_bcrypt_of_another_system_verifies(prefix: bytes) -> None:
    """A1."""
    stored = bcrypt.hashpw(b"correct horse", bcrypt.gensalt(4, prefix)).decode()

    assert verify_password("correct horse", stored, [PEPPER])
    assert not verify_password("wrong horse", stored, [PEPPER])


def test_plain_bcrypt_of_a_long_password_verifies_as_it_did_there() -> None:
    """A1."""
    stored = bcrypt.hashpw(b"a" * 72, bcrypt.gensalt(4)).decode()

    assert verify_password("a" * 100, stored, [PEPPER])


@pytest.mark.parametrize("size", [1024, 1025])
def test_a_new_password_has_at_most_1024_bytes(size: int) -> None:
    """A3."""
    if size <= 1024:
        check_new_password("a" * size)
        check_new_password("ä" * (size // 2))
        return
    with pytest.raises(PasswordTooLong) as refused:
        check_new_password("a" * size)
    assert refused.value.status == 422
    assert [(error.field, error.code) for error in refused.value.errors] == [("password", "too_long")]


def test_a_new_password_that_is_no_text_is_refused() -> None:
    """A3."""
    with pytest.raises(Invalid) as refused:
        hash_password("\ud800 is half a character", PEPPER)
    assert [error.field for error in refused.value.errors] == ["password"]


@pytest.mark.parametrize("given", ["a" * 1025, "a" * 1_000_000, "\ud800"], ids=["1025 bytes", "a megabyte", "no text"])
def test_an_impossible_password_is_wrong_and_costs_one_bcrypt(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A3."""
    stored = hash_password("correct horse", PEPPER)
    computed = count_bcrypt(monkeypatch)

    assert not verify_password(given, stored, [PEPPER])
    assert computed == [10]


def test_what_an_impossible_password_is_replaced_by_is_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """A3."""
    stored = hash_password("", PEPPER)

    assert verify_password("", stored, [PEPPER])
    assert not verify_password("a" * 1025, stored, [PEPPER])


@pytest.mark.parametrize("stored", ["", "!", "orion1$k1$2b$10$short", "orion9$k1$2b$10$" + "a" * 53, "plain text"])
def test_a_stored_form_that_is_none_verifies_nothing_and_costs_one_bcrypt(
    stored: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A7."""
    computed = count_bcrypt(monkeypatch)

    assert not verify_password("correct horse", stored, [PEPPER])
    assert computed == [10]


def test_a_decoy_costs_one_bcrypt_and_verifies_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A7."""
    stored = decoy(PEPPER)
    computed = count_bcrypt(monkeypatch)

    assert not verify_password("correct horse", stored, [PEPPER])
    assert not verify_password("", stored, [PEPPER])
    assert computed == [10, 10]
    assert not needs_rehash(stored, PEPPER)


def count_bcrypt(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The rounds of every bcrypt computed from now on."""
    rounds: list[int] = []
    check = bcrypt.checkpw

    def counted(secret: bytes, stored: bytes) -> bool:
        rounds.append(int(stored.split(b"$")[2]))
        return check(secret, stored)

    monkeypatch.setattr(bcrypt, "checkpw", counted)
    return rounds
