"""People for the benchmark of the front door: accounts made through the public face."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from typing import Final

import httpx

PASSWORD: Final = "correct horse battery"


def sign_up(url: str) -> tuple[str, dict[str, str]]:
    """The id of a new account of the host at `url`, and the headers with which its person asks."""
    body = {"email": f"ada-{secrets.token_hex(4)}@example.org", "password": PASSWORD, "name": "Ada"}
    made = httpx.post(f"{url}/api/v1/auth/register", json=body, trust_env=False, timeout=30)
    made.raise_for_status()
    document = made.json()
    return document["user"]["id"], {"Authorization": f"Bearer {document['access_token']}"}


def answered(url: str, headers: Mapping[str, str]) -> None:
    """Wait until `url` answers 200: the news of an account may be on their way."""
    end = time.monotonic() + 30
    while httpx.get(url, headers=dict(headers), trust_env=False, timeout=10).status_code != 200:
        if time.monotonic() > end:
            raise RuntimeError(f"{url} does not answer 200")
        time.sleep(0.05)
