"""Requirement numbers: the pages that list them and the tests that cite them agree."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "reference" / "requirements"

_ENTRY = re.compile(r"- \*\*(?P<number>(?P<family>[A-Z]{1,2})\d+[a-z]?)\*\* \[(?:core|plus)\] \S.*")
_TOKEN = re.compile(r"(?<![A-Za-z0-9])(?P<family>[A-Z]{1,2})\d+[a-z]?(?![A-Za-z0-9])")

NO_CITATION = {
    "ES256": "a signature algorithm of RFC 7518",
    "ES384": "a signature algorithm of RFC 7518",
    "ES512": "a signature algorithm of RFC 7518",
}
"""Words that look like numbers of a listed family and are something else, with what they are."""


def _pages() -> list[Path]:
    return sorted(page for page in PAGES.glob("*.md") if page.name != "index.md")


def _entries() -> Iterator[tuple[str, str, str]]:
    """Page, family and number of every line that lists one."""
    for page in _pages():
        for line in page.read_text(encoding="utf-8").splitlines():
            if found := _ENTRY.fullmatch(line):
                yield page.stem, found["family"], found["number"]


def _texts(source: str) -> Iterator[tuple[int, str]]:
    """Line and text of every name and docstring in which `source` may cite."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name
        if isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield getattr(node, "lineno", 1), ast.get_docstring(node) or ""


def _unknown(source: str, listed: set[str], families: set[str]) -> list[tuple[int, str]]:
    """Line and word of every citation in `source` that is not in `listed`."""
    return [
        (line, found[0])
        for line, text in _texts(source)
        for found in _TOKEN.finditer(text)
        if found["family"] in families and found[0] not in listed and found[0] not in NO_CITATION
    ]


def test_every_cited_number_stands_on_a_page() -> None:
    entries = list(_entries())
    listed, families = {number for _, _, number in entries}, {family for _, family, _ in entries}

    unknown = [
        f"{path.relative_to(ROOT)}:{line} cites {word}"
        for path in sorted((ROOT / "tests").rglob("*.py"))
        for line, word in _unknown(path.read_text(encoding="utf-8"), listed, families)
    ]

    assert not unknown, (
        "a test that cites a number nobody can look up proves nothing to its reader: correct the number, add it to its "
        f"page under {PAGES.relative_to(ROOT)}, or list the word in NO_CITATION if it is none:\n" + "\n".join(unknown)
    )


def test_every_number_stands_on_one_page_once() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for page, _, number in _entries():
        places[number].append(page)

    twice = {number: pages for number, pages in places.items() if len(pages) > 1}

    assert places, f"no requirement is listed under {PAGES.relative_to(ROOT)}"
    assert not twice, f"a number means one thing, or a citation is ambiguous; listed more than once: {twice}"


def test_every_family_of_numbers_belongs_to_one_page() -> None:
    homes: dict[str, set[str]] = defaultdict(set)
    for page, family, _ in _entries():
        homes[family].add(page)

    spread = {family: sorted(pages) for family, pages in homes.items() if len(pages) > 1}

    assert not spread, f"the letters lead a reader to the page, so a family stays on one: {spread}"


def test_every_line_of_a_page_that_looks_like_an_entry_is_one() -> None:
    odd = [
        f"{page.name}:{count} {line}"
        for page in _pages()
        for count, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1)
        if line.lstrip().startswith(("-", "*", "|")) and not _ENTRY.fullmatch(line)
    ]

    assert not odd, (
        "a line in another form drops its number from every check without a word; write `- **E1** [core] sentence`:\n"
        + "\n".join(odd)
    )


def test_the_index_names_every_page() -> None:
    index = (PAGES / "index.md").read_text(encoding="utf-8")

    missing = [page.name for page in _pages() if f"({page.name})" not in index]

    assert not missing, f"a page that the index does not name is not found; add to index.md: {missing}"


def test_a_made_up_number_is_noticed_and_look_alikes_are_not() -> None:
    source = '''
def test_one_EP99():
    """E4 and E5x, but E2E, W3C, UTF8, XE7 and ES256 are words."""
'''

    assert _unknown(source, listed={"E4", "EP1"}, families={"E", "EP", "ES", "W"}) == [(2, "EP99"), (2, "E5x")]
