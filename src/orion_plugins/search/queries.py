"""What a person typed, taken apart: pure functions.

Nothing in the text is an operator of a database. Quotes make a phrase, a minus at the beginning of a word or phrase
excludes it, and everything else that is neither letter nor digit only separates words.
"""

from __future__ import annotations

import re

import attrs

from orion_core.errors import FieldError, Malformed
from orion_plugins.search.words import tokens

MAX_TEXT = 1024
MAX_WORDS = 32

_CHUNK = re.compile(r'(?P<minus>(?<!\S)-)?(?:"(?P<phrase>[^"]*)(?:"|$)|(?P<plain>[^\s"]+))')
Phrase = tuple[str, ...]


@attrs.frozen
class Asked:
    """A query's text: `words` to find, the last of which may be unfinished (`prefix`, else empty), `phrases` that every
    hit has and `excluded` ones that none has. Without any of them the text was empty, unless it asks for `nothing`:
    then it had signs, but no words."""

    words: tuple[str, ...] = ()
    prefix: str = ""
    phrases: tuple[Phrase, ...] = ()
    excluded: tuple[Phrase, ...] = ()
    nothing: bool = False


def parse(text: str) -> Asked:
    """Take `text` apart; raises `Malformed` when it is too long or has too many words."""
    if len(text) > MAX_TEXT:
        raise _malformed("too_long", f"must have at most {MAX_TEXT} characters")
    words: list[str] = []
    phrases: list[Phrase] = []
    excluded: list[Phrase] = []
    prefix = ""
    wanted = False
    for chunk in _CHUNK.finditer(text):
        plain = chunk["plain"]
        found = _words(chunk["phrase"] if plain is None else plain, whole=plain is None)
        if chunk["minus"]:
            excluded += [found] if found else []
            continue
        wanted = True
        if plain is None:
            phrases += [found] if found else []
            continue
        words += found
        prefix = found[-1] if found and chunk.end() == len(text) else ""
    if len(words) + sum(map(len, phrases)) + sum(map(len, excluded)) > MAX_WORDS:
        raise _malformed("too_many_words", f"must have at most {MAX_WORDS} words")
    return Asked(
        words=tuple(dict.fromkeys(words)),
        prefix=prefix,
        phrases=tuple(dict.fromkeys(phrases)),
        excluded=tuple(dict.fromkeys(excluded)),
        nothing=not (words or phrases) and (wanted or bool(text.strip() and not excluded)),
    )


def _words(text: str, *, whole: bool) -> Phrase:
    """The words of one chunk. The single last character of a run is in documents only; a phrase of several runs needs
    it between them."""
    found = list(tokens(text))
    kept = [token.word for at, token in enumerate(found) if not token.ends or (whole and at < len(found) - 1)]
    return tuple(kept)


def _malformed(code: str, detail: str) -> Malformed:
    return Malformed(f"q: {detail}", errors=[FieldError("q", code, detail)])
