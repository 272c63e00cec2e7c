"""Where the words of a query are in a text: pure functions."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence

from orion_core.contracts.search import Highlight, Mark
from orion_plugins.search.queries import Phrase
from orion_plugins.search.words import Token, may_continue, tokens

LENGTH = 240
BEFORE = 60
MAX_MARKS = 100


def highlight(field: str, text: str, fits: Callable[[str], bool], phrases: Sequence[Phrase] = ()) -> Highlight | None:
    """The words of `text` that fit and the places of `phrases`; None where there are none."""
    found = list(tokens(text))
    marks = [(token.start, token.end) for token in found if fits(token.word)]
    for phrase in phrases:
        marks += _places(found, phrase)
    if not marks:
        return None
    joined = _joined(sorted(marks))[:MAX_MARKS]
    return Highlight(field, _snippet(text, joined), tuple(Mark(start, end) for start, end in joined))


def _places(found: Sequence[Token], phrase: Phrase) -> list[tuple[int, int]]:
    words = [token.word for token in found]
    *before, last = phrase
    begins = may_continue(last)
    return [
        (found[at - len(before)].start, found[at].end)
        for at in range(len(before), len(words))
        if (words[at] == last or (begins and words[at].startswith(last))) and words[at - len(before) : at] == before
    ]


def _joined(marks: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """`marks` without overlaps."""
    joined = [marks[0]]
    for start, end in marks[1:]:
        if start < joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def _snippet(text: str, marks: Sequence[tuple[int, int]]) -> str:
    begin = 0 if len(text) <= LENGTH else max(0, min(marks[0][0] - BEFORE, len(text) - LENGTH))
    until = min(len(text), begin + LENGTH)
    parts = ["…"] if begin else []
    at = begin
    for start, end in marks:
        # What is too long for the snippet is cut, and so is its mark.
        start, end = max(start, begin), min(end, until)
        if start < end:
            parts += [html.escape(text[at:start]), "<mark>", html.escape(text[start:end]), "</mark>"]
            at = end
    parts.append(html.escape(text[at:until]))
    return "".join([*parts, "…"] if until < len(text) else parts)
