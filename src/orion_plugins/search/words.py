"""From text to words, the same for documents and queries: pure functions.

A word is a run of letters, digits and the marks on them, in NFKC, without letter case, without diacritics. Chinese,
Japanese and Korean, which are written without blanks, are cut into pairs of characters; the last character of a run is
a word of its own as well, so that one character can be found too.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import re
import unicodedata
from collections.abc import Iterator

import attrs
import snowballstemmer

MAX_WORD = 64
"""A longer word is cut and ends in a hash of all of it: found by itself only, and never too long for a database."""

_RUN = re.compile(r"[^\W_]+")
_STEMMABLE = re.compile(r"[a-z]{3,}")
# Letters with a stroke and the like, which Unicode does not take apart.
_PLAIN = str.maketrans("øłđħŧıŋ", "oldhtin")
# Blocks of combining diacritical marks; other marks are vowels or tones and belong to the word.
_DIACRITICS = re.compile("[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]")
_IDEOGRAPHIC = re.compile(
    "[\u1100-\u11ff\u2e80-\u2fdf\u3005-\u3007\u3040-\u30ff\u3100-\u312f\u3130-\u318f\u31a0-\u31bf\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff]"
)
_stemmer = snowballstemmer.stemmer("english")


@attrs.frozen
class Token:
    """One word and where it stands in the text, in code points. `ends` marks the single last character of a run."""

    word: str
    start: int
    end: int
    ends: bool = False


def normalise(text: str) -> str:
    """`text` as it is compared: NFKC, folded case, no diacritics."""
    folded = unicodedata.normalize("NFKC", text).casefold().translate(_PLAIN)
    bare = _DIACRITICS.sub("", unicodedata.normalize("NFKD", folded))
    return unicodedata.normalize("NFC", bare).casefold()


def clean(text: str) -> str:
    """`text` without what no database can keep: NUL and lone surrogates."""
    return re.sub("[\x00\ud800-\udfff]", "\ufffd", text)


def tokens(text: str) -> Iterator[Token]:
    """All words of `text` in order."""
    for start, end in _runs(text):
        run = text[start:end]
        if run.isascii():
            yield Token(_short(run.lower()), start, end)
        else:
            yield from _foreign(run, start)


def _runs(text: str) -> Iterator[tuple[int, int]]:
    """Where runs of word characters are; the marks on a letter belong to it."""
    start = end = -1
    for match in _RUN.finditer(text):
        if match.start() != end:
            if start >= 0:
                yield start, end
            start = match.start()
        end = match.end()
        while end < len(text) and _is_mark(text[end]):
            end += 1
    if start >= 0:
        yield start, end


def _is_mark(sign: str) -> bool:
    return sign in "\u200c\u200d" or unicodedata.category(sign)[0] == "M"


def _foreign(run: str, offset: int) -> Iterator[Token]:
    """The words of a run outside ASCII. It is normalised letter by letter, to know where each one came from."""
    signs: list[tuple[str, int, int]] = []
    start = 0
    for end in range(1, len(run) + 1):
        if end == len(run) or not _belongs(run[end]):
            signs += [(sign, offset + start, offset + end) for sign in normalise(run[start:end])]
            start = end
    word: list[tuple[str, int, int]] = []
    pairs = False
    for sign in signs:
        ideographic = bool(_IDEOGRAPHIC.match(sign[0]))
        letter = ideographic or sign[0].isalnum() or _is_mark(sign[0])
        if word and (not letter or ideographic != pairs):
            yield from _words(word, pairs)
            word = []
        if letter and (word or not _is_mark(sign[0])):
            word.append(sign)
            pairs = ideographic
    if word:
        yield from _words(word, pairs)


def _belongs(sign: str) -> bool:
    """Whether `sign` makes one letter with what is before it: marks, voicing, and the later parts of a syllable."""
    return _is_mark(sign) or sign in "\uff9e\uff9f" or "\u1160" <= sign <= "\u11ff"


def _words(signs: list[tuple[str, int, int]], pairs: bool) -> Iterator[Token]:
    if not pairs:
        text = "".join(sign for sign, _, _ in signs if sign not in "\u200c\u200d")
        yield Token(_short(text), signs[0][1], signs[-1][2])
        return
    for first, second in itertools.pairwise(signs):
        yield Token(first[0] + second[0], first[1], second[2])
    last, start, end = signs[-1]
    yield Token(last, start, end, ends=len(signs) > 1)


def _short(word: str) -> str:
    if len(word) <= MAX_WORD:
        return word
    return word[: MAX_WORD - 24] + hashlib.blake2b(word.encode(), digest_size=12).hexdigest()


@functools.lru_cache(maxsize=100_000)
def stem(word: str) -> str:
    """The stem of an English `word`; every other word is its own."""
    return str(_stemmer.stemWord(word)) if _STEMMABLE.fullmatch(word) else word


def may_continue(word: str) -> bool:
    """Whether `word` is one character of a script that is cut into pairs: in a query it stands for every pair that it
    begins, too."""
    return len(word) == 1 and bool(_IDEOGRAPHIC.match(word))
