"""What covers what, and the decision about one resource."""

from __future__ import annotations

import pytest

from orion_core.permissions import Rule, covers, decide, narrowed, sees

READ, WRITE, INVOICE = "invoices:read", "invoices:write", "invoice:42"


@pytest.mark.parametrize(
    ("pattern", "wanted", "expected"),
    [
        ("invoices:read", "invoices:read", True),
        ("invoices:*", "invoices:read", True),
        ("*", "invoices:read", True),
        ("*", "*", True),
        ("invoices:*", "invoices:*", True),
        ("invoices:read", "invoices:*", False),
        ("invoices:*", "*", False),
        ("invoices:*", "invoices-of-others:read", False),
        ("*:read", "invoices:read", False),
        ("invoices:re*d", "invoices:read", False),
        ("invoices:rea", "invoices:read", False),
        ("", "invoices:read", False),
    ],
)
def test_a_wildcard_counts_only_at_the_end(pattern: str, wanted: str, expected: bool) -> None:
    """A53."""
    assert covers(pattern, wanted) is expected


def test_what_is_left_of_permissions_is_what_scopes_cover_too() -> None:
    assert narrowed((READ, WRITE), ("invoices:*",)) == (READ, WRITE)
    assert narrowed(("invoices:*",), (READ, "memos:read")) == (READ,)
    assert narrowed(("*",), (READ,)) == (READ,)
    assert narrowed((READ,), ("*",)) == (READ,)
    assert narrowed((READ,), ()) == ()
    assert narrowed((), (READ,)) == ()


def test_to_see_is_to_read() -> None:
    assert (sees(WRITE), sees(READ)) == (READ, READ)


ALLOW = Rule("allow", READ, INVOICE)
DENY_ALL = Rule("deny", "*", "invoice:*")


@pytest.mark.parametrize(
    ("held", "rules", "owner", "scopes", "expected"),
    [
        ((), (), False, None, (False, "no_permission")),
        ((READ,), (), False, None, (True, "role")),
        ((WRITE,), (), False, None, (False, "no_permission")),
        ((), (ALLOW,), False, None, (True, "grant")),
        ((), (Rule("allow", READ, "invoice:4"),), False, None, (False, "no_permission")),
        ((), (Rule("allow", "invoices:*", "invoice:*"),), False, None, (True, "grant")),
        ((), (Rule("allow", READ, "memo:*"),), False, None, (False, "no_permission")),
        ((), (), True, None, (True, "owner")),
        (("*",), (DENY_ALL,), True, None, (False, "denied_by_grant")),
        ((READ,), (Rule("deny", WRITE, INVOICE),), False, None, (True, "role")),
        ((), (ALLOW, Rule("deny", READ, INVOICE)), False, None, (False, "denied_by_grant")),
        ((), (), True, (), (False, "no_permission")),
        ((), (), True, ("own:write",), (False, "no_permission")),
        ((), (), True, ("own:read",), (True, "owner")),
        ((), (), True, ("*",), (True, "owner")),
        ((), (ALLOW,), False, ("own:read",), (False, "no_permission")),
        ((), (ALLOW,), False, (READ,), (True, "grant")),
    ],
)
def test_nothing_is_allowed_unless_something_allows_it_and_nothing_denies_it(
    held: tuple[str, ...],
    rules: tuple[Rule, ...],
    owner: bool,
    scopes: tuple[str, ...] | None,
    expected: tuple[bool, str],
) -> None:
    """A53, A55."""
    verdict = decide(READ, INVOICE, held=held, rules=rules, owner=owner, scopes=scopes)

    assert (verdict.allowed, verdict.reason) == expected


def test_without_a_resource_grants_and_ownership_say_nothing() -> None:
    """A53."""
    for rules in ((Rule("allow", "*", "invoice:*"),), (Rule("deny", "*", "invoice:*"),)):
        assert not decide(READ, held=(), rules=rules, owner=True).allowed
        assert decide(READ, held=(READ,), rules=rules).allowed
