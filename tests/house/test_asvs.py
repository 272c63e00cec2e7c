"""docs/asvs.csv: every item of OWASP ASVS 5.0 that ORION answers for, with the tests that show it.

The tests run in the same CI as this file, so an item has a passing test when the test that it names exists and is not
skipped.
"""

from __future__ import annotations

import ast
import csv
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "asvs.md"
COLUMNS = ["item", "level", "applies", "tests", "evidence"]

WHOLE = {
    1: "6.1.1 6.2.1-8 6.3.1-2 6.4.1-2 7.2.1-4 7.4.1-2 8.1.1 8.2.1-2 8.3.1 9.1.1-3 9.2.1",
    2: "6.1.2-3 6.2.9-12 6.3.3-4 6.4.3-4 6.5.1-5 6.6.1-3 6.8.1-4 7.1.1-3 7.3.1-2 7.4.3-5 7.5.1-2 7.6.1-2 8.1.2 8.2.3 "
    "8.4.1 9.2.2-4 16.1.1 16.2.1-5 16.3.1-4 16.4.1-3 16.5.1-3",
}
"""All items of chapters 6, 7, 8, 9 and 16 up to level 2, by level."""

CHOSEN = {
    1: "2.2.1-2 2.3.1 3.3.1 3.4.1-2 3.5.1-3 4.1.1 10.4.1-5 11.3.1-2 11.4.1 12.1.1 12.2.1 13.4.1 14.2.1 15.2.1 15.3.1",
    2: "2.1.3 2.3.3 2.4.1 3.3.2-4 3.4.3-6 3.7.2 4.1.2-3 4.2.1 10.1.1-2 10.2.1-2 10.3.1-4 10.4.6-11 10.5.1-4 10.7.1-3 "
    "11.1.1-2 11.2.1-3 11.3.3 11.4.2-4 11.5.1 12.3.1-3 13.2.1-5 13.3.1 13.4.2 13.4.4-5 14.1.1-2 14.2.2 14.2.4 14.3.2 "
    "15.1.2-3 15.2.2-3 15.3.2-5 15.3.7",
    3: "4.1.4 4.2.2 4.2.5 6.3.5 6.3.7-8 6.4.6 6.5.6 6.5.8 6.7.2 7.5.3 8.3.2-3 11.3.4 13.1.2-3 13.2.6 13.4.6 14.2.5 "
    "14.2.7 15.4.1-2 16.5.4",
}
"""What else ORION answers for, by level."""


def _items(listed: dict[int, str]) -> dict[str, str]:
    """Item and level of everything in `listed`, where `6.2.1-3` means three items."""
    found = {}
    for level, text in listed.items():
        for word in text.split():
            section, _, numbers = word.rpartition(".")
            first, _, last = numbers.partition("-")
            found |= {f"{section}.{number}": str(level) for number in range(int(first), int(last or first) + 1)}
    return found


def _rows() -> list[dict[str, str]]:
    with (ROOT / "docs" / "asvs.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _open() -> list[str]:
    """The items that the page lists as not met yet."""
    section = PAGE.read_text(encoding="utf-8").partition("\n## Open\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if re.match(r"\| \d", line)]
    return [item for line in lines for item in re.findall(r"\d+\.\d+\.\d+", line.split("|")[1])]


@cache
def _tests(path: str) -> dict[str, bool]:
    """The test functions of the file and whether each may run: neither it nor its file is marked with skip."""
    file = ROOT / path
    if not file.is_file():
        return {}
    tree = ast.parse(file.read_text(encoding="utf-8"))
    marks = [node.value for node in tree.body if isinstance(node, ast.Assign) and "pytestmark" in ast.unparse(node)]
    whole = not any(_skips(mark) for mark in marks)
    return {
        node.name: whole and not any(_skips(each) for each in node.decorator_list)
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }


def _skips(mark: ast.expr) -> bool:
    return re.search(r"mark\.skip\b", ast.unparse(mark)) is not None


def test_every_item_is_answered_once_or_listed_as_open() -> None:
    expected = _items(WHOLE) | _items(CHOSEN)
    answered = [row["item"] for row in _rows()]

    assert len(_items(WHOLE)) == 83
    assert sorted(answered + _open()) == sorted(expected), "an item stands in docs/asvs.csv or below Open, once"
    assert {row["item"]: row["level"] for row in _rows()} == {
        item: level for item, level in expected.items() if item in answered
    }


def test_every_row_is_complete() -> None:
    for row in _rows():
        assert list(row) == COLUMNS
        assert row["applies"] in ("yes", "deployment", "no"), row
        assert 0 < len(row["evidence"]) <= 200, row
        assert bool(row["tests"]) == (row["applies"] == "yes"), f"what applies is shown by a test: {row}"


def test_every_named_test_exists_and_runs() -> None:
    wrong = [
        f"{row['item']}: {test}"
        for row in _rows()
        for test in row["tests"].split()
        if not _tests(test.partition("::")[0]).get(test.partition("::")[2])
    ]

    assert not wrong, f"a test that is gone or always skipped shows nothing: {wrong}"


def test_pages_that_the_evidence_names_exist() -> None:
    for row in _rows():
        pages = re.findall(r"(?:docs|src|tests)/[\w/.-]+\.\w+", row["evidence"])
        assert [page for page in pages if not (ROOT / page).is_file()] == [], row
        if row["applies"] == "deployment":
            assert any(page.endswith(".md") for page in pages), f"which page tells the operator? {row}"


@pytest.mark.parametrize(
    ("source", "runs"),
    [
        ("def test_a(): ...", True),
        ("@pytest.mark.skip(reason='x')\ndef test_a(): ...", False),
        ("@pytest.mark.skipif(x, reason='y')\ndef test_a(): ...", True),
        ("pytestmark = pytest.mark.skip\ndef test_a(): ...", False),
    ],
)
def test_a_test_that_is_always_skipped_is_noticed(source: str, runs: bool, tmp_path: Path) -> None:
    file = tmp_path / "test_a.py"
    file.write_text(source)

    assert _tests(str(file)) == {"test_a": runs}
