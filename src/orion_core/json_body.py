"""JSON from outside that two readers could understand in two ways is refused, and so is JSON too deep to be meant."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from orion_core.errors import FieldError, Malformed

DEPTH: Final = 64
"""How deep objects and lists may lie in each other (G40)."""
_SHOWN: Final = 128
_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[{]|[\]}]', re.DOTALL)


def refuse_ambiguous(text: bytes) -> None:
    """Raise `Malformed` if the JSON `text` names a member twice or is nested deeper than `DEPTH`.

    Readers differ in which of two members counts (RFC 8259, section 4), so neither does. Text that is no JSON passes:
    whoever decodes it says so.
    """
    if text.count(b"[") + text.count(b"{") > DEPTH and _depth(text) > DEPTH:
        raise Malformed(f"the body is nested deeper than {DEPTH} levels")
    if b"{" not in text:
        return
    try:
        # Numbers are of no interest here, and whole ones of any length would take time and have a limit of their own.
        json.loads(text, object_pairs_hook=_unique, parse_int=float)
    except Malformed:
        raise
    except ValueError:
        return


def _depth(text: bytes) -> int:
    """The depth at which `text` goes beyond `DEPTH`, or its greatest."""
    depth = most = 0
    for token in _TOKEN.finditer(text):
        first = text[token.start()]
        if first in b"[{":
            depth += 1
            if depth > most:
                most = depth
                if most > DEPTH:
                    break
        elif first in b"]}":
            depth -= 1
    return most


def _unique(members: list[tuple[str, Any]]) -> None:
    names = {name for name, _ in members}
    if len(names) == len(members):
        return
    seen: set[str] = set()
    for name, _ in members:
        if name in seen:
            shown = name[:_SHOWN].encode("utf-8", "backslashreplace").decode("utf-8")
            raise Malformed(
                f"{shown}: is given twice", errors=[FieldError(shown, "duplicate", "is given twice: leave one out")]
            )
        seen.add(name)
