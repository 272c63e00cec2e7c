"""``orion users ...``."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from orion_core.contracts.auth import Auth, Login
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
