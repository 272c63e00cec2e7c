"""The quickstart prints what its reader expects."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

QUICKSTART = Path(__file__).parents[2] / "examples" / "quickstart.py"


def test_the_quickstart_greets_the_world_and_the_person_who_registered() -> None:
    done = subprocess.run([sys.executable, QUICKSTART], capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["Hello, world!", "Hello, Ada!"]


def test_the_quickstart_stays_short() -> None:
    """Around twenty lines of code beside imports, blank lines and docstrings."""
    text = QUICKSTART.read_text().splitlines()
    code = [line for line in text if line.strip() and not line.startswith(("import", "from", '"""', "@", "if "))]

    assert len(code) <= 30, "the first example is read in one breath"
