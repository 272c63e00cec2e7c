"""What `orion run --split` tells processes that are started later on the same data folder."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from orion_core.cli.process import began, lives


@attrs.frozen
class RunningSplit:
    """A supervisor and its deployment: ports by service, and the settings that its processes share.

    Kept in ``split.json`` in the data folder, readable by the owner alone, since it holds secrets.
    """

    pid: int
    began: float
    ports: Mapping[str, int]
    environment: Mapping[str, str] = attrs.field(repr=False)

    @classmethod
    def of(cls, ports: Mapping[str, int], environment: Mapping[str, str]) -> RunningSplit:
        """The split whose supervisor is this process."""
        return cls(os.getpid(), began(os.getpid()), ports, environment)

    @classmethod
    def find(cls, data_dir: Path) -> RunningSplit | None:
        """The split that lives on `data_dir`; None if there is none, or only the file of one that has died."""
        try:
            document = json.loads(_path(data_dir).read_text())
            found = cls(
                int(document["pid"]), float(document["began"]), dict(document["ports"]), dict(document["environment"])
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return found if lives(found.pid, found.began) else None

    def write(self, data_dir: Path) -> None:
        """Replace the file; it is never seen half written."""
        data_dir.mkdir(parents=True, exist_ok=True)
        path = _path(data_dir)
        draft = path.with_name(f".{path.name}.{self.pid}")
        document: dict[str, Any] = attrs.asdict(self)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(document, file, indent=2)
        draft.replace(path)

    def remove(self, data_dir: Path) -> None:
        """Remove the file, unless another split has replaced it."""
        found = RunningSplit.find(data_dir)
        if found is None or found.pid == self.pid:
            _path(data_dir).unlink(missing_ok=True)


def _path(data_dir: Path) -> Path:
    return data_dir / "split.json"
