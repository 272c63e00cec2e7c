"""The lines of several processes as one stream."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TextIO

_COLOURS = (36, 33, 35, 32, 34, 96, 93, 95, 92)


class MergedLogs:
    """Writes what processes say to one stream, one line for one event.

    As text each line begins with the name of its process. As JSON a line that is an object already is passed as it is,
    and any other becomes one.
    """

    def __init__(self, stream: TextIO, names: Sequence[str], *, as_json: bool) -> None:
        self._stream = stream
        self._json = as_json
        self._width = max(map(len, [*names, "orion"]))
        colourful = stream.isatty() and "NO_COLOR" not in os.environ
        self._colours = {name: _COLOURS[at % len(_COLOURS)] for at, name in enumerate(names)} if colourful else {}

    def heard(self, name: str, line: str) -> None:
        """Pass on `line` of the process of the service `name`."""
        if not self._json:
            self._text(name, line)
        elif line.startswith("{"):
            self._write(line)
        elif line:
            self._object(name, line, "info")

    def tell(self, name: str, line: str) -> None:
        """Say something about the process of the service `name`."""
        if self._json:
            self._object(name, line, "warning")
        else:
            self._text("orion", line)

    def _object(self, name: str, line: str, level: str) -> None:
        at = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        self._write(json.dumps({"event": line, "service": name, "level": level, "ts": at}, ensure_ascii=False))

    def _text(self, name: str, line: str) -> None:
        label = f"{name:<{self._width}}"
        colour = self._colours.get(name)
        self._write(f"\x1b[{colour}m{label}\x1b[0m │ {line}" if colour else f"{label} │ {line}")

    def _write(self, line: str) -> None:
        self._stream.write(f"{line}\n")
        self._stream.flush()
