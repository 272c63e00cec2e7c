"""``orion storage``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orion_core.cli import command_line

runner = CliRunner()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORION_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


def test_collecting_tells_what_it_found(folder: Path) -> None:
    """T8: has a dry run."""
    lost = folder / "blobs" / "objects" / "00" / "lost"
    lost.parent.mkdir(parents=True)
    lost.write_bytes(b"x")
    import os

    os.utime(lost, (1, 1))
    counted = runner.invoke(command_line(), ["storage", "gc", "--dry-run"])
    assert counted.exit_code == 0, counted.output
    assert "would be removed" in counted.output
    assert "1 orphaned" in counted.output
    assert lost.exists()
    removed = runner.invoke(command_line(), ["storage", "gc", "--json"])
    assert removed.exit_code == 0, removed.output
    assert json.loads(removed.stdout)["orphans"] == 1
    assert not lost.exists()


def test_there_are_no_buckets_at_first(folder: Path) -> None:
    assert folder.name == "data"
    listed = runner.invoke(command_line(), ["storage", "buckets", "--json"])
    assert listed.exit_code == 0, listed.output
    assert json.loads(listed.stdout) == []
