"""Errors as documents and back."""

from __future__ import annotations

from typing import Any

import pytest

from orion_core import errors
from orion_core.errors import (
    CATEGORIES,
    Conflict,
    DeadlineExceeded,
    Error,
    FieldError,
    Internal,
    Invalid,
    Malformed,
    TooMany,
    Unavailable,
    category,
    problem,
    revive,
)


class Taken(Conflict):
    """It is taken."""

    code = "shop.taken"


class Odd(Error):
    """Of no category."""

    status = 418
    code = "shop.odd"


def test_every_error_of_the_tree_is_a_category_with_a_status_and_a_code_of_its_own() -> None:
    found = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, Error)]

    assert set(found) - {Error} == set(CATEGORIES)
    assert len({each.status for each in CATEGORIES}) == len({each.code for each in CATEGORIES}) == len(CATEGORIES)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (Taken, Conflict),
        (Malformed, Malformed),
        (DeadlineExceeded, DeadlineExceeded),
        (Odd, Internal),
        (Error, Internal),
    ],
)
def test_every_error_has_a_category(error: type[Error], expected: type[Error]) -> None:
    assert category(error) is expected


def test_a_problem_document_has_the_members_of_rfc_9457() -> None:
    error = Taken("ada is taken", errors=[FieldError("name", "taken", "choose another")], retry_after=2.5)

    assert problem(error) == {
        "type": "urn:orion:shop.taken",
        "title": "Conflict",
        "status": 409,
        "detail": "ada is taken",
        "code": "shop.taken",
        "errors": [{"field": "name", "code": "taken", "detail": "choose another"}],
        "retry_after": 2.5,
    }
    assert problem(Conflict())["detail"] == str(Conflict()) == "conflict"


@pytest.mark.parametrize(
    "error",
    [
        Taken("x", errors=[FieldError("a", "b", "c")]),
        Invalid("x"),
        Malformed("x"),
        TooMany("x", retry_after=3),
        Unavailable("x"),
        DeadlineExceeded("x"),
        Internal("x"),
    ],
)
def test_an_error_comes_back_as_its_own_class_if_it_was_declared(error: Error) -> None:
    back = revive(problem(error), {"shop.taken": Taken})

    assert type(back) is type(error)
    assert (back.detail, back.errors, back.retry_after) == (error.detail, error.errors, error.retry_after)
    assert back.reported_code == error.code


def test_an_undeclared_error_comes_back_as_its_category_with_its_code() -> None:
    back = revive(problem(Taken("x")), {})

    assert type(back) is Conflict
    assert (back.code, back.reported_code) == ("conflict", "shop.taken")
    assert problem(back)["code"] == "shop.taken"


@pytest.mark.parametrize(
    "document",
    [{}, {"status": 418}, {"status": "x"}, {"status": None}, {"status": {}}, {"status": 500, "retry_after": "soon"}],
)
def test_a_document_that_is_none_of_ours_is_an_internal_error(document: dict[str, Any]) -> None:
    assert type(revive(document, {})) is Internal
