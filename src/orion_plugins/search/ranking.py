"""BM25, computed here so that both databases rank alike: pure functions.

``idf(t) * f * (k1 + 1) / (f + k1 * (1 - b + b * length / mean length))`` summed over the terms, where ``f`` counts the
term in the document, each field by its weight, and ``idf(t) = ln(1 + (N - n + 0.5) / (n + 0.5))``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs

K1 = 1.2
B = 0.75


@attrs.frozen
class Term:
    """One word of a query with the `words` of the same stem, in `documents` of all. `prefix` stands for longer words,
    which occur in `longer` documents; empty for a finished word."""

    words: frozenset[str]
    documents: int
    prefix: str = ""
    longer: int = 0

    def fits(self, word: str) -> bool:
        """Whether `word` is found by this term."""
        return word in self.words or bool(self.prefix and word.startswith(self.prefix))


@attrs.frozen
class Statistics:
    """Of everything the caller may see: how many documents, and how many words one has on average."""

    documents: int
    mean_length: float

    def idf(self, documents: int) -> float:
        """How telling a word is that occurs in `documents` of them."""
        # Counts of what all may see know nothing of the caller's own documents: never more than there are.
        occurs = min(documents, self.documents)
        return math.log(1 + (self.documents - occurs + 0.5) / (occurs + 0.5))


def score(words: str, length: int, weights: Sequence[float], terms: Sequence[Term], statistics: Statistics) -> float:
    """The score of a document with these `words` (fields divided by ``|``) and `weights` of its fields."""
    # Most words of a document are none of the query's: they are looked at once, not once for each term.
    wanted = frozenset[str]().union(*(term.words for term in terms))
    begins = tuple(term.prefix for term in terms if term.prefix)
    weighted: dict[str, float] = {}
    for field, weight in zip(words.split("|"), weights, strict=False):
        for word in field.split():
            if word in wanted or word.startswith(begins):
                weighted[word] = weighted.get(word, 0.0) + weight
    norm = K1 * (1 - B + B * length / (statistics.mean_length or 1))
    total = 0.0
    for term in terms:
        # Exact sums: a set has another order in each process, and equal documents must have equal scores.
        frequency = math.fsum(weighted[word] for word in term.words if word in weighted)
        occurs = term.documents
        if not frequency and term.prefix:
            frequency = math.fsum(count for word, count in weighted.items() if word.startswith(term.prefix))
            occurs = term.longer
        if frequency:
            total += statistics.idf(occurs) * frequency * (K1 + 1) / (frequency + norm)
    return total
