"""What scenarios in this process have in common."""

from __future__ import annotations

import pytest

from orion_plugins.auth import passwords


@pytest.fixture(autouse=True)
def _cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nearly every scenario signs people up, and each would spend half its time on hashing; processes hash in full."""
    monkeypatch.setattr(passwords, "ROUNDS", 4)
