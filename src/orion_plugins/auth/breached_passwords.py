"""Passwords that others lost: an offline list of SHA-1 prefixes, searched where it lies."""

from __future__ import annotations

import hashlib
import mmap
import re
from pathlib import Path

_LINE = re.compile(rb"([0-9A-Fa-f]{10,40})(?::[0-9]+)?\r?")
_LONGEST_LINE = 64


class BreachedPasswords:
    """A file of SHA-1 digests or prefixes of them, one a line, sorted: `has` finds one in about 30 looks.

    Each line has 10 to 40 hexadecimal digits and may go on with ``:`` and a count, as the downloads of Have I Been
    Pwned "ordered by hash" do. The file is never loaded, so its size does not matter.
    """

    def __init__(self, path: Path | str) -> None:
        self._path = Path(path)

    def problem(self) -> str:
        """What is wrong with the file, empty if its first line is one of such a list."""
        try:
            with self._path.open("rb") as file:
                first = file.readline(_LONGEST_LINE)
        except OSError as error:
            return f"{self._path} cannot be read ({error.strerror})"
        if not _LINE.fullmatch(first.rstrip(b"\n")):
            return f"{self._path} does not begin with a line of 10 to 40 hexadecimal digits"
        return ""

    def has(self, password: str) -> bool:
        """Whether the file names `password`. It reads the disk; raises OSError when it cannot."""
        # The lists are made with SHA-1; nothing is protected by it here.
        wanted = hashlib.sha1(password.encode(), usedforsecurity=False).hexdigest().encode()
        with self._path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
            low, high = 0, len(text)
            while low < high:
                middle = (low + high) // 2
                start = text.rfind(b"\n", 0, middle) + 1
                end = text.find(b"\n", start)
                end = len(text) if end < 0 else end
                digits = text[start:end].partition(b":")[0].strip().lower()
                if digits and wanted.startswith(digits):
                    return True
                if digits < wanted:
                    low = end + 1
                else:
                    high = start
            return False
