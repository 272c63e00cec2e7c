"""Mail as readable files in a folder."""

from __future__ import annotations

import asyncio
import email.policy
import os
import re
from datetime import UTC, datetime
from email.errors import MessageError
from email.message import EmailMessage
from pathlib import Path
from uuid import uuid4

from orion_core.folders import sync_folder
from orion_core.mime import check_headers
from orion_core.ports.check import Check
from orion_core.ports.mail import MailRefused, MailUnavailable

# Headers and bodies in plain UTF-8 (RFC 6532), so that a person reads the file as it is.
_READABLE = email.policy.default.clone(utf8=True, cte_type="8bit")


class FileMail:
    """Keeps the port `Mail` by writing each message to `folder`, for development and for one process.

    A file is called ``20260131T120000.123456Z-ada-example.org-1f3c….eml``: UTC time, first recipient, a unique part.
    It appears complete and durable, or not at all; only its owner may read it. The folder is made when needed.
    """

    def __init__(self, folder: Path | str) -> None:
        self._folder = Path(folder)

    def __repr__(self) -> str:
        return f"FileMail({str(self._folder)!r})"

    async def send(self, message: EmailMessage) -> None:
        """Write `message`.

        Raises `MailUnavailable` when the folder cannot be written, and `MailRefused` for headers that cannot be sent.
        """
        check_headers(message)
        try:
            content = message.as_bytes(policy=_READABLE)
        except (MessageError, UnicodeError, ValueError, LookupError) as error:
            raise MailRefused(f"the message cannot be encoded: {error}") from error
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}-{_slug(message)}-{uuid4().hex[:12]}.eml"
        try:
            await asyncio.to_thread(self._write, name, content)
        except OSError as error:
            raise MailUnavailable(f"the mail folder {self._folder} cannot be written: {error.strerror}") from error

    async def check(self) -> Check:
        """``pass``, or ``warn`` when the folder cannot be written."""
        try:
            await asyncio.to_thread(self._prepare)
        except OSError as error:
            return Check("warn", f"the mail folder {self._folder} cannot be written: {error.strerror}")
        return Check("pass")

    async def aclose(self) -> None:
        """Nothing is open between messages."""

    def _prepare(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(self._folder, os.W_OK | os.X_OK):
            raise PermissionError(13, "permission denied")

    def _write(self, name: str, content: bytes) -> None:
        self._prepare()
        # The leading dot and the other suffix hide a half-written file from whoever lists the folder.
        unfinished = self._folder / f".{name}.part"
        try:
            descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            unfinished.rename(self._folder / name)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise
        sync_folder(self._folder)


def _slug(message: EmailMessage) -> str:
    recipient = str(message.get("To") or message.get("Cc") or message.get("Bcc") or "")
    address = re.sub(r".*<|>.*", "", recipient.split(",")[0])
    return re.sub(r"[^a-z0-9._]+", "-", address.lower()).strip("-.")[:60] or "nobody"
