"""`orion run` over raw sockets: framing, paths and headers as an attacker would write them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from terminal import environment, running, until_ready

from orion_core.testing.ports import free_ports

sys.path.insert(0, str(Path(__file__).parents[1] / "web"))
from framings import REFUSED, TAKEN
from raw_http import exchange, line, parse

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of one host with everything, which gives slow clients less time than usual."""
    (port,) = free_ports(1)
    folder = tmp_path_factory.mktemp("wire")
    times = {"ORION_HEADER_TIMEOUT": "2", "ORION_BODY_TIMEOUT": "2", "ORION_REQUEST_TIMEOUT": "8"}
    with running("run", env=environment(folder, ORION_PORT=str(port), **times), folder=folder):
        until_ready(f"http://127.0.0.1:{port}")
        yield port


@pytest.mark.parametrize("name", REFUSED)
async def test_a_request_in_doubtful_form_is_refused(port: int, name: str) -> None:
    """G3 and G1."""
    status, request = REFUSED[name]
    answer = parse(await exchange(port, request))

    assert answer.status == status, answer
    assert answer.problem["detail"]
    assert answer.rest == b""


@pytest.mark.parametrize("name", TAKEN)
async def test_a_request_at_the_border_is_taken(port: int, name: str) -> None:
    """G3."""
    async with line(port) as client:
        await client.send(TAKEN[name])
        assert (await client.answer()).status == 200
