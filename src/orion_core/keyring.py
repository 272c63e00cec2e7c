"""The keyring: signing keys, password peppers and encryption keys, each with an id, newest first.

The first key of a list is the one in use, the others still verify or decrypt. It is JSON, kept in a file of mode 0600
or given inline::

    {"signing": [{"kid": "...", "key": "<32 bytes, base64url>"}], "pepper": [...], "encryption": [...]}
"""

from __future__ import annotations

import base64
import json
import os
import secrets
from pathlib import Path
from typing import Any

import attrs

from orion_core.errors import StartRefused
from orion_core.folders import sync_folder


@attrs.frozen
class Key:
    """32 secret bytes with an id."""

    kid: str
    secret: bytes = attrs.field(repr=False)


@attrs.frozen
class Keyring:
    """The secret keys of a deployment, each list newest first. A need of this type makes a service require one."""

    signing: tuple[Key, ...]
    pepper: tuple[Key, ...]
    encryption: tuple[Key, ...]

    @classmethod
    def generate(cls) -> Keyring:
        """A keyring with one new random key of each kind."""
        return cls(*((Key(secrets.token_hex(4), secrets.token_bytes(32)),) for _ in range(3)))

    @classmethod
    def parse(cls, text: str, source: str = "ORION_KEYRING") -> Keyring:
        """Read the JSON form; raises `StartRefused` for what is no keyring, naming its `source` and showing nothing."""
        try:
            document = json.loads(text)
            lists = [tuple(_key(item) for item in document[kind]) for kind in ("signing", "pepper", "encryption")]
        except (ValueError, KeyError, TypeError) as error:
            wrong = f"{source} holds no keyring ({type(error).__name__})"
            advice = "restore it, passwords and tokens need it; a new deployment makes one with: orion keyring new"
            raise StartRefused([f"{wrong}: {advice}"]) from None
        if not all(lists):
            raise StartRefused([f"{source} lacks a key of each kind: signing, pepper and encryption"])
        return cls(*lists)

    @classmethod
    def load(cls, source: str) -> Keyring:
        """Read `source`: inline JSON, or the path of a file; raises `StartRefused`."""
        if source.lstrip().startswith("{"):
            return cls.parse(source)
        try:
            return cls.parse(Path(source).read_text(), source)
        except (OSError, UnicodeDecodeError) as error:
            raise StartRefused([f"ORION_KEYRING: {source} cannot be read ({error})"]) from error

    @classmethod
    def load_or_create(cls, path: Path) -> Keyring:
        """Read the file at `path`; if there is none, write a new keyring there with mode 0600.

        Raises `StartRefused` where that cannot be done.
        """
        if not path.exists():
            try:
                cls._create(path)
            except OSError as error:
                raise StartRefused([f"ORION_DATA_DIR: {path.parent} cannot be written ({error.strerror})"]) from error
        return cls.load(str(path))

    @classmethod
    def _create(cls, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(cls.generate().dump())
            file.flush()
            os.fsync(file.fileno())
        # link() fails if another process was faster, so both go on with the same keys.
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
        # Passwords hashed with a pepper that a power cut took away could never be checked again.
        sync_folder(path.parent)

    def dump(self) -> str:
        """The JSON form."""
        return json.dumps(
            {
                kind: [{"kid": key.kid, "key": _encode(key.secret)} for key in keys]
                for kind, keys in (("signing", self.signing), ("pepper", self.pepper), ("encryption", self.encryption))
            },
            indent=2,
        )


def _encode(secret: bytes) -> str:
    return base64.urlsafe_b64encode(secret).decode().rstrip("=")


def _key(item: dict[str, Any]) -> Key:
    text = item["key"]
    secret = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if len(secret) != 32 or not item["kid"]:
        raise ValueError("a key has an id and 32 bytes")
    return Key(str(item["kid"]), secret)
