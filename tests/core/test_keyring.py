"""The keyring: what is one, and how the first one is made."""

from __future__ import annotations

import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from orion_core.errors import StartRefused
from orion_core.keyring import Keyring


def document() -> dict[str, Any]:
    """A good keyring as JSON types."""
    found: dict[str, Any] = json.loads(Keyring.generate().dump())
    return found


def test_what_was_written_is_read_again() -> None:
    keyring = Keyring.generate()

    assert Keyring.parse(keyring.dump()) == keyring
    assert Keyring.load(f"  {keyring.dump()}") == keyring
    assert len({key.secret for key in (*keyring.signing, *keyring.pepper, *keyring.encryption)}) == 3


def test_a_keyring_does_not_show_its_keys() -> None:
    keyring = Keyring.generate()

    assert repr(keyring.signing[0].secret)[2:-1] not in repr(keyring)
    assert keyring.signing[0].kid in repr(keyring)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "[]",
        "{}",
        json.dumps({**document(), "pepper": [{"kid": "a", "key": "c2hvcnQ"}]}),
        json.dumps({**document(), "signing": [{"kid": "", "key": document()["signing"][0]["key"]}]}),
        json.dumps({**document(), "signing": ["text"]}),
        json.dumps({**document(), "signing": [{"kid": "a", "key": 5}]}),
    ],
)
def test_what_is_no_keyring_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(StartRefused, match=r"ORION_KEYRING holds no keyring .* restore it") as no:
        Keyring.parse(text)

    assert "c2hvcnQ" not in str(no.value)


def test_a_keyring_without_a_key_of_a_kind_is_refused() -> None:
    with pytest.raises(StartRefused, match="lacks a key of each kind"):
        Keyring.parse(json.dumps({**document(), "pepper": []}))


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(StartRefused, match=r"/nowhere/keyring\.json cannot be read"):
        Keyring.load("/nowhere/keyring.json")


def test_the_first_keyring_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "data" / "keyring.json"
    before = os.umask(0)
    try:
        made = Keyring.load_or_create(path)
    finally:
        os.umask(before)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Keyring.load_or_create(path) == made
    assert [each.name for each in path.parent.iterdir()] == ["keyring.json"]


def test_all_who_make_the_first_keyring_at_once_get_the_same(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        made = set(threads.map(Keyring.load_or_create, [tmp_path / "keyring.json"] * 16))

    assert len(made) == 1


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file where the data folder should be")

    with pytest.raises(StartRefused, match=r"ORION_DATA_DIR: .*taken cannot be written"):
        Keyring.load_or_create(tmp_path / "taken" / "keyring.json")


def test_a_file_that_is_no_keyring_is_named(tmp_path: Path) -> None:
    path = tmp_path / "keyring.json"
    path.write_text("{}")

    with pytest.raises(StartRefused, match=r"keyring\.json holds no keyring"):
        Keyring.load_or_create(path)
