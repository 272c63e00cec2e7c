"""Email addresses: which of them are one account's."""

# ruff: noqa: RUF001 - full-width letters are what some of these tests are about

from __future__ import annotations

import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orion_core.errors import Invalid
from orion_plugins.auth.emails import normalise, normalised_or_none

ONE_ACCOUNT = [
    "zoë.müller@bücher.example",
    "ZOË.MÜLLER@BÜCHER.EXAMPLE",
    "Zoë.Müller@Bücher.Example",
    unicodedata.normalize("NFD", "zoë.müller@bücher.example"),
    unicodedata.normalize("NFD", "ZOË.MÜLLER@BÜCHER.EXAMPLE"),
    "ｚｏë.müller@bücher.example",
    "zoë.müller@ｂücher.ｅｘａｍｐｌｅ",
    "zoë.müller@xn--bcher-kva.example",
    "zoë.müller@XN--BCHER-KVA.EXAMPLE",
    "zoë.müller@bücher。example",
    "  zoë.müller@bücher.example ",
]


@pytest.mark.parametrize("typed", ONE_ACCOUNT)
def test_letter_case_unicode_form_and_domain_case_do_not_make_another_account(typed: str) -> None:
    """U7."""
    address = normalise(typed)

    assert address.email == "zoë.müller@bücher.example"
    assert address.key == "zoë.müller@xn--bcher-kva.example"


def test_letters_that_fold_together_are_one_account_and_keep_their_mailbox() -> None:
    """U7."""
    sharp, double = normalise("Straße@x.org"), normalise("strasse@x.org")

    assert sharp.key == double.key
    assert (sharp.email, double.email) == ("straße@x.org", "strasse@x.org")


@pytest.mark.parametrize("other", ["ada@x.org", "a.da@x.org", "ada+b@x.org", "ada@sub.x.org", "ada@x.com"])
def test_other_addresses_are_other_accounts(other: str) -> None:
    """U7."""
    assert len({normalise(each).key for each in ("adb@x.org", other)}) == 2


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "ada",
        "@x.org",
        "ada@",
        "ada@x.org@y.org",
        "a＠da@x.org",
        "a\u200bda@x.org",
        "a\u202eda@x.org",
        "ada\u00a0b@x.org",
        "ada\x00@x.org",
        "\ud800@x.org",
        "ada@-x-.org",
        "ada@" + "x" * 64 + ".org",
        "ada@x..org",
        "ﷺ" * 20 + "@x.org",
    ],
)
def test_what_is_no_address_is_refused_naming_the_field(typed: str) -> None:
    """U7."""
    with pytest.raises(Invalid) as refused:
        normalise(typed)
    assert [error.field for error in refused.value.errors] == ["email"]
    assert normalised_or_none(typed) is None


@given(st.emails(), st.sampled_from([str.upper, str.lower, str.title, str.swapcase]))
def test_an_address_normalises_to_itself(email: str, change: Callable[[str], str]) -> None:
    """U7."""
    address = normalised_or_none(change(email))
    if address is not None:
        assert normalise(address.email) == address
        assert normalise(address.key).key == address.key
