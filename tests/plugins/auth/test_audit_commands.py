"""``orion audit ...``."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from orion_plugins.auth.plugin import orion_commands

PASSWORD = "correct horse battery"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORION_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("ORION_SYNCHRONOUS", "NORMAL")
    return tmp_path


def run(*args: str) -> Result:
    cli = typer.Typer()
    orion_commands(cli)
    return CliRunner().invoke(cli, args)


def filled() -> None:
    assert run("users", "create-admin", "--email", "ada@x.org", "--password", PASSWORD).exit_code == 0
    assert run("users", "create-admin", "--email", "eve@x.org", "--password", PASSWORD).exit_code == 0


def tamper(folder: Path, *statements: str) -> None:
    with sqlite3.connect(folder / "auth.db") as db:
        for name in ("no_update", "no_delete"):
            db.execute(f"DROP TRIGGER auth_audit_{name}")
        for statement in statements:
            db.execute(statement)
    db.close()


def test_an_untouched_log_is_verified(folder: Path) -> None:
    """A58."""
    filled()
    done = run("audit", "verify")
    as_json = run("audit", "verify", "--json")

    assert done.exit_code == 0, done.output
    assert "4 entries, all as they were written" in done.output  # each registered, and given a role
    assert json.loads(as_json.stdout)["faults"] == []


def test_a_change_is_told_with_exit_code_1(folder: Path) -> None:
    """A58."""
    filled()
    tamper(folder, "UPDATE auth_audit_logs SET outcome = 'failure' WHERE seq = 1")
    done = run("audit", "verify")
    as_json = run("audit", "verify", "--json")

    assert (done.exit_code, as_json.exit_code) == (1, 1)
    assert "changed" in done.output
    assert [(fault["seq"], fault["kind"]) for fault in json.loads(as_json.stdout)["faults"]] == [(1, "changed")]


def test_anchors_in_a_file_reveal_a_tail_that_was_cut(folder: Path) -> None:
    """A58."""
    filled()
    anchors = folder / "elsewhere.jsonl"
    for _ in range(2):
        assert run("audit", "anchor", str(anchors)).exit_code == 0
    assert run("audit", "verify", "--anchor", str(anchors)).exit_code == 0
    tamper(
        folder,
        "DELETE FROM auth_audit_logs WHERE seq > 1",
        "UPDATE auth_audit_head SET seq = 1, hash = (SELECT hash FROM auth_audit_logs WHERE seq = 1)",
    )

    assert run("audit", "verify").exit_code == 0
    done = run("audit", "verify", "--anchor", str(anchors), "--json")
    assert done.exit_code == 1
    assert {(fault["seq"], fault["kind"]) for fault in json.loads(done.stdout)["faults"]} == {(4, "anchor")}


@pytest.mark.parametrize(("text", "said"), [("{}", "holds no anchors"), (None, "cannot be read")])
def test_a_file_that_holds_no_anchors_is_refused(folder: Path, text: str | None, said: str) -> None:
    """A58: never taken for a log without faults."""
    filled()
    anchors = folder / "anchors"
    if text is not None:
        anchors.write_text(text)
    done = run("audit", "verify", "--anchor", str(anchors))

    assert done.exit_code == 1
    assert said in done.output


def test_entries_are_listed_and_that_is_recorded(folder: Path) -> None:
    """A59."""
    filled()
    first = run("audit", "list", "--action", "registered", "--json")
    second = run("audit", "list", "--action", "audit_log_read", "--json")

    assert [item["actor"] for item in json.loads(first.stdout)["items"]] == ["system", "system"]
    assert len(json.loads(second.stdout)["items"]) == 2
    assert "registered" in run("audit", "list").output
