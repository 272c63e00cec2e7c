"""``orion webhooks ...``."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from orion_core.context import SYSTEM, Context, use
from orion_core.contracts.webhooks import NewEndpoint, Webhooks
from orion_core.platform import Platform
from orion_core.settings import Settings
from orion_plugins.webhooks.plugin import orion_commands


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORION_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("ORION_SYNCHRONOUS", "NORMAL")
    return tmp_path


def run(*args: str) -> Result:
    cli = typer.Typer()
    orion_commands(cli)

    @cli.command()
    def other() -> None:
        """A second command, so that the group keeps its name."""

    return CliRunner().invoke(cli, ["webhooks", *args])


def prepare(folder: Path) -> tuple[UUID, UUID]:
    """An endpoint, and a test delivery for it that nobody has sent yet."""

    async def work() -> tuple[UUID, UUID]:
        async with Platform.load("webhooks", settings=Settings(data_dir=folder), work=False) as platform:
            service = platform.service(Webhooks)
            with use(Context(actor=SYSTEM)):
                made = await service.create_endpoint(NewEndpoint("https://example.org/hooks", ("user.*",)))
                return made.endpoint.id, (await service.send_test(made.endpoint.id)).id

    return asyncio.run(work())


def test_endpoints_and_deliveries_are_listed(folder: Path) -> None:
    """W9."""
    endpoint_id, delivery_id = prepare(folder)

    endpoints, deliveries = run("endpoints"), run("deliveries", "--status", "pending")

    assert endpoints.exit_code == deliveries.exit_code == 0, endpoints.output + deliveries.output
    assert str(endpoint_id) in endpoints.stdout
    assert "whsec_" not in endpoints.stdout
    assert str(delivery_id) in deliveries.stdout
    listed = json.loads(run("deliveries", "--endpoint", str(endpoint_id), "--json").stdout)["items"]
    assert [each["id"] for each in listed] == [str(delivery_id)]
    assert json.loads(run("endpoints", "--json").stdout)["items"][0]["event_types"] == ["user.*"]
    assert json.loads(run("deliveries", "--status", "dead", "--json").stdout)["items"] == []


def test_a_delivery_is_retried(folder: Path) -> None:
    """W9a."""
    _, delivery_id = prepare(folder)

    assert "webhook.test" in run("retry", str(delivery_id)).stdout
    assert json.loads(run("retry", str(delivery_id), "--json").stdout)["id"] == str(delivery_id)


def test_what_is_wrong_is_said(folder: Path) -> None:
    unknown, status = run("retry", str(uuid4())), run("deliveries", "--status", "lost")

    assert (unknown.exit_code, status.exit_code) == (1, 1)
    assert "there is no delivery" in unknown.stderr
    assert status.stderr == "error: status: must be one of pending, succeeded, dead, aborted\n"
