"""What a new password may be."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import pytest

from orion_core.contracts.auth_accounts import PasswordRefused
from orion_core.errors import Unavailable
from orion_plugins.auth import password_policy
from orion_plugins.auth.breached_passwords import BreachedPasswords
from orion_plugins.auth.password_policy import PasswordPolicy
from orion_plugins.auth.settings import AuthSettings

POLICY = PasswordPolicy(product="Shop")


def refusal(password: str, email: str = "ada.lovelace@example.org", policy: PasswordPolicy = POLICY) -> str:
    """The code with which `password` is refused, empty if it is not."""
    try:
        policy.check(password, email, field="new_password")
    except PasswordRefused as error:
        found = [(each.field, each.code) for each in error.errors]
    else:
        return ""
    return "; ".join(code if field == "new_password" else field for field, code in found)


@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("1234567", "too_short"),
        ("😀" * 7, "too_short"),
        ("😀" * 8, ""),
        ("password", "common"),
        ("PassWord", "common"),
        ("\uff11\uff12\uff13\uff14\uff15\uff16\uff17\uff18", "common"),  # full-width digits
        ("trustno1", "common"),
        ("my orion secret", "context_word"),
        ("SHOPping cart 9", "context_word"),
        ("x-Ada.Lovelace-x", "context_word"),
        ("correct horse battery", ""),
        ("        ", ""),
        ("lower case alone", ""),
        ("ada.lovelac is not the whole name", ""),
    ],
)
def test_a_new_password_is_refused_for_what_others_try_first_and_for_nothing_else(password: str, code: str) -> None:
    """A4: no rules of composition."""
    assert refusal(password) == code


def test_the_list_holds_the_three_thousand_most_common_ones_that_are_long_enough() -> None:
    """A4."""
    common = password_policy._common()

    assert len(common) == 3000
    assert min(map(len, common)) == 8
    assert {each for each in common if refusal(each, "x@example.org") not in ("common", "context_word")} == set()


def test_a_short_local_part_forbids_nothing() -> None:
    """A4: one or two letters are part of nearly every password."""
    assert refusal("correct horse battery", "co@example.org") == ""
    assert refusal("correct horse battery", "hor@example.org") == "context_word"


def test_only_the_beginning_of_a_password_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """A5."""
    seen: list[int] = []
    fold = password_policy.unicodedata.normalize

    def measured(form: str, text: str) -> str:
        seen.append(len(text))
        return fold(form, text)  # type: ignore[arg-type]  # the form comes from the code under test

    monkeypatch.setattr(password_policy.unicodedata, "normalize", measured)

    assert refusal("x" * 1024, "y" * 2000 + "@example.org") == ""
    assert refusal("ﷺ" * 341, "z@example.org") == ""
    assert max(seen) == 128


def breached(folder: Path, lines: list[str]) -> BreachedPasswords:
    path = folder / "breached.txt"
    path.write_text("".join(f"{line}\n" for line in lines))
    return BreachedPasswords(path)


def digest(password: str) -> str:
    return hashlib.sha1(password.encode()).hexdigest()


@pytest.mark.parametrize("form", ["whole", "prefix", "counted", "mixed"])
@pytest.mark.parametrize("size", [1, 2, 3, 500])
def test_every_password_of_the_offline_list_is_found_and_no_other(form: str, size: int, tmp_path: Path) -> None:
    """A4."""
    chance = random.Random(size)
    lost = [f"lost password {chance.random()}" for _ in range(size)]
    forms = {
        "whole": lambda text: text,
        "prefix": lambda text: text[:16],
        "counted": lambda text: f"{text.upper()}:{chance.randrange(9_999_999)}",
        "mixed": lambda text: text[: chance.randrange(16, 41)],
    }
    found = breached(tmp_path, sorted(forms[form](digest(each)) for each in lost))

    assert found.problem() == ""
    assert [each for each in lost if not found.has(each)] == []
    assert [each for each in range(500) if found.has(f"another {each}")] == []


def test_a_password_of_the_offline_list_is_refused(tmp_path: Path) -> None:
    """A4."""
    policy = PasswordPolicy(breached=breached(tmp_path, sorted(digest(f"lost {each}")[:12] for each in range(100))))

    assert refusal("lost 42", policy=policy) == "too_short"
    policy = PasswordPolicy(breached=breached(tmp_path, [digest("a lost password")]))
    assert refusal("a lost password", policy=policy) == "breached"
    assert refusal("another password", policy=policy) == ""


def test_without_its_list_no_new_password_is_taken(tmp_path: Path) -> None:
    """A4: it fails closed."""
    policy = PasswordPolicy(breached=BreachedPasswords(tmp_path / "gone.txt"))

    with pytest.raises(Unavailable):
        policy.check("correct horse battery", "ada@example.org")


@pytest.mark.parametrize("text", [None, "", "no digests\n", "ABCDEF:1\n"])
def test_a_file_that_is_no_such_list_stops_the_start_naming_the_setting(text: str | None, tmp_path: Path) -> None:
    """A4."""
    path = tmp_path / "list.txt"
    if text is not None:
        path.write_text(text)

    with pytest.raises(ValueError, match="breached_passwords"):
        AuthSettings(breached_passwords=str(path))
