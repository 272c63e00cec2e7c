"""``orion users ...``."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from orion_core.contracts.auth import Auth, InvalidCredentials, Login
from orion_core.platform import Platform
from orion_core.settings import Settings
from orion_plugins.auth.plugin import orion_commands

PASSWORD = "correct horse battery"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORION_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("ORION_SYNCHRONOUS", "NORMAL")
    return tmp_path


def run(*args: str, typed: str = "") -> Result:
    cli = typer.Typer()
    orion_commands(cli)

    @cli.command()
    def other() -> None:
        """A second command, so that the group keeps its name."""

    return CliRunner().invoke(cli, ["users", *args], input=typed)


def permissions(folder: Path, email: str) -> tuple[str, ...]:
    async def ask() -> tuple[str, ...]:
        async with Platform.load("auth", settings=Settings(data_dir=folder), work=False) as platform:
            tokens = await platform.service(Auth).login(Login(email, PASSWORD))
            actor = await platform.identity.verify(tokens.access_token)
            return actor.permissions

    return asyncio.run(ask())


def test_an_administrator_can_be_made_and_signs_in(folder: Path) -> None:
    """A53."""
    made = run("create-admin", "--email", "Ada@x.org", "--password", PASSWORD, "--name", "Ada", "--json")

    assert made.exit_code == 0, made.output
    assert json.loads(made.stdout)["email"] == "ada@x.org"
    assert permissions(folder, "ada@x.org") == ("*",)


def test_the_password_is_asked_for_twice_and_not_shown(folder: Path) -> None:
    """A53."""
    made = run("create-admin", "--email", "ada@x.org", typed=f"{PASSWORD}\n{PASSWORD}\n")

    assert made.exit_code == 0, made.output
    assert "ada@x.org is an administrator" in made.output
    assert PASSWORD not in made.output
    assert permissions(folder, "ada@x.org") == ("*",)


def test_an_existing_account_gets_the_role_and_keeps_its_password(folder: Path) -> None:
    """A53."""
    for password in (PASSWORD, "another password"):
        assert run("create-admin", "--email", "ada@x.org", "--password", password).exit_code == 0
    assert permissions(folder, "ada@x.org") == ("*",)


@pytest.mark.parametrize(
    ("email", "password", "said"),
    [("no address", PASSWORD, "email: must be"), ("ada@x.org", "short", "password: must have at least 8")],
)
def test_what_is_wrong_is_said_with_exit_code_1(folder: Path, email: str, password: str, said: str) -> None:
    """A53."""
    refused = run("create-admin", "--email", email, "--password", password)

    assert refused.exit_code == 1
    assert said in refused.output


def test_roles_are_made_given_shown_and_taken(folder: Path) -> None:
    """A53, A56."""
    for email in ("ada@x.org", "grace@x.org"):
        assert run("create-admin", "--email", email, "--password", PASSWORD).exit_code == 0

    made = run("roles", "create", "clerk", "invoices:read", "invoices:write", "--json")
    assert made.exit_code == 0, made.output
    assert json.loads(made.stdout)["permissions"] == ["invoices:read", "invoices:write"]
    assert run("roles", "add", "Ada@X.org", "clerk").stdout == "Ada@X.org holds admin clerk\n"
    assert run("roles", "remove", "ada@x.org", "admin").stdout == "ada@x.org holds clerk\n"
    held = json.loads(run("roles", "of", "ada@x.org", "--json").stdout)
    assert (held["roles"], held["permissions"]) == (["clerk"], ["invoices:read", "invoices:write"])
    assert permissions(folder, "ada@x.org") == ("invoices:read", "invoices:write")
    assert [each["name"] for each in json.loads(run("roles", "list", "--json").stdout)["items"]] == ["admin", "clerk"]
    assert "invoices:read" in run("roles", "list").stdout

    last = run("roles", "remove", "grace@x.org", "admin")
    assert last.exit_code == 1
    assert "last administrator" in last.output


def test_an_account_is_closed_and_opened(folder: Path) -> None:
    """A30."""
    for email in ("ada@x.org", "grace@x.org"):
        assert run("create-admin", "--email", email, "--password", PASSWORD).exit_code == 0

    assert run("disable", "ada@x.org").exit_code == 0
    with pytest.raises(InvalidCredentials):
        permissions(folder, "ada@x.org")
    assert run("disable", "grace@x.org").exit_code == 1
    assert run("create-admin", "--email", "ada@x.org", "--password", PASSWORD).exit_code == 1
    assert run("enable", "ada@x.org").exit_code == 0
    assert permissions(folder, "ada@x.org") == ("*",)


def test_an_address_without_account_is_said_to_be_so(folder: Path) -> None:
    for command in (("roles", "of"), ("disable",), ("enable",)):
        refused = run(*command, "nobody@x.org")
        assert refused.exit_code == 1
        assert "no account with this address" in refused.output
