"""Words, queries, scores and highlights of search, as pure functions."""

from __future__ import annotations

import html
import math
import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orion_core.errors import Malformed
from orion_plugins.search.documents import State
from orion_plugins.search.highlights import highlight
from orion_plugins.search.queries import Asked, parse
from orion_plugins.search.ranking import Statistics, Term, score
from orion_plugins.search.words import MAX_WORD, clean, normalise, stem, tokens

ANY = st.text(max_size=80)
MIXED = st.text(alphabet="aéß\u0301灯泡电ｶﾞ한국हिन्दीﬁ½①İ -_.'\u200d\ud800\x00", max_size=40)


def words(text: str) -> list[str]:
    return [token.word for token in tokens(text)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Ada Lovelace's", ["ada", "lovelace", "s"]),
        ("re\u0301sumé Résumé", ["resume", "resume"]),
        ("ﬁne \uff21\uff22 Straße", ["fine", "ab", "strasse"]),
        ("Łódź Ørsted İstanbul", ["lodz", "orsted", "istanbul"]),
        ("电灯泡abc", ["电灯", "灯泡", "泡", "abc"]),
        ("灯", ["灯"]),
        ("ｶﾞｷﾞ", ["ガギ", "ギ"]),
        ("हिन्दी", ["हिन्दी"]),
        ("a_b-c.d", ["a", "b", "c", "d"]),
        ("\ud800x\x00y", ["x", "y"]),
        ("* ^ | & : ( ' \" \\", []),
    ],
)
def test_a_text_is_cut_into_words(text: str, found: list[str]) -> None:
    """S17."""
    assert words(text) == found


@given(text=st.one_of(ANY, MIXED))
def test_words_are_where_they_say_and_safe_for_every_database(text: str) -> None:
    """S17, S22, S23."""
    for token in tokens(text):
        assert 0 <= token.start < token.end <= len(text)
        assert 1 <= len(token.word) <= MAX_WORD
        assert not set(token.word) & set(" |.'\"\\:*&!()<>\x00")
        assert token.word == clean(token.word) == token.word.lower()
        assert words(text[token.start : token.end])


@given(text=st.one_of(ANY, MIXED))
def test_equivalent_texts_have_the_same_words(text: str) -> None:
    """S17: composed or not, large or small."""
    assert words(unicodedata.normalize("NFC", text)) == words(unicodedata.normalize("NFD", text))
    assert normalise(normalise(text)) == normalise(text)


def test_only_english_words_have_stems() -> None:
    """S10."""
    assert {stem(word) for word in ("running", "runs", "run")} == {"run"}
    assert [stem(word) for word in ("grüne", "2nd", "灯泡", "is")] == ["grüne", "2nd", "灯泡", "is"]


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("", Asked()),
        ("   ", Asked()),
        ("ada", Asked(("ada",), "ada")),
        ("ada ", Asked(("ada",))),
        ("Ada ada lov", Asked(("ada", "lov"), "lov")),
        ('"ada lovelace"', Asked(phrases=(("ada", "lovelace"),))),
        ('"ada lovelace', Asked(phrases=(("ada", "lovelace"),))),
        ('x"ada b"y', Asked(("x", "y"), "y", (("ada", "b"),))),
        ("-ada", Asked(excluded=(("ada",),))),
        ('b -"ada c" -d-e', Asked(("b",), "", (), (("ada", "c"), ("d", "e")))),
        ("well-known -", Asked(("well", "known"))),
        ("***", Asked(nothing=True)),
        ('""', Asked(nothing=True)),
        ("- -* ''", Asked(nothing=True)),
        ("*** -ada", Asked(excluded=(("ada",),), nothing=True)),
        ("电灯泡", Asked(("电灯", "灯泡"), "灯泡")),
        ('"灯泡 abc"', Asked(phrases=(("灯泡", "泡", "abc"),))),
    ],
)
def test_a_query_is_taken_apart(text: str, asked: Asked) -> None:
    """S15, S16, S22."""
    assert parse(text) == asked


@given(text=st.text(max_size=1100))
def test_every_text_is_a_query_or_malformed(text: str) -> None:
    """S22: text without words asks for nothing, never for everything."""
    try:
        asked = parse(text)
    except Malformed:
        return
    assert asked.nothing or asked.words or asked.phrases or asked.excluded or not text.strip()


def test_a_score_is_bm25_by_the_formula() -> None:
    """S10: k1 1.2, b 0.75, fields by their weights."""
    term = Term(frozenset({"engine", "engines"}), documents=2)
    statistics = Statistics(documents=10, mean_length=4.0)
    idf = math.log(1 + (10 - 2 + 0.5) / (2 + 0.5))
    frequency = 5 * 1 + 1 * 2
    norm = 1.2 * (1 - 0.75 + 0.75 * 5 / 4.0)

    found = score(" engine | engines x engine y | ", 5, (5, 1), [term], statistics)

    assert found == pytest.approx(idf * frequency * 2.2 / (frequency + norm), abs=1e-12)


def test_a_begun_word_counts_only_where_the_whole_one_is_missing() -> None:
    """S15."""
    term = Term(frozenset({"ada"}), documents=1, prefix="ada", longer=3)
    statistics = Statistics(5, 2.0)
    assert score(" adamant | ", 1, (1,), [term], statistics) > 0
    assert score(" ada adamant | ", 2, (1,), [term], statistics) == score(" ada other | ", 2, (1,), [term], statistics)
    assert score(" other | ", 1, (1,), [term], statistics) == 0


@settings(max_examples=300)
@given(text=st.one_of(ANY, MIXED, st.lists(st.sampled_from(["<b>", "ada", "&amp;", '"', "灯泡 "])).map("".join)))
def test_a_highlight_is_the_escaped_text_with_marks(text: str) -> None:
    """S23: without its marks it is a piece of the text, and nothing of the text is markup."""
    text = clean(text)
    found = highlight("title", text, lambda word: word in {"ada", "a", "灯泡", "b"})
    if found is None:
        return
    bare = found.html.replace("<mark>", "").replace("</mark>", "")
    assert not re.search(r"[<>\"']", bare)
    assert html.unescape(bare).strip("…") in text or text in html.unescape(bare)
    assert found.offsets
    for mark in found.offsets:
        assert 0 <= mark.start < mark.end <= len(text)


def test_a_long_text_is_cut_around_the_first_word_that_was_found() -> None:
    """S23."""
    text = "x " * 400 + "ada " + "y " * 400
    found = highlight("body", text, {"ada"}.__contains__)
    assert found is not None
    assert found.html.startswith("…x")
    assert found.html.endswith("…")
    assert "<mark>ada</mark>" in found.html
    assert len(found.html) < 300
    assert [(mark.start, mark.end) for mark in found.offsets] == [(800, 803)]


def test_a_state_keeps_versions_and_forgets_content() -> None:
    """S2, S31."""
    state = State()
    assert state.hear("e", "notes", 2, 1, {"title": "x"})
    assert not state.hear("e", "notes", 2, 1, {"title": "y"})
    state.forget()
    assert State.loads(state.dumps()).merged({"e": 0}) is None
    assert "x" not in state.dumps()
    assert not state.hear("e", "notes", 1, 1, {"title": "z"})
    assert state.remove("notes", 3)
    assert state.is_gone
