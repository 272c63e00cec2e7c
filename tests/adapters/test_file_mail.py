"""Mail in a folder: complete, durable and readable files."""

from __future__ import annotations

import email
import email.policy
import os
import re
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from email.message import EmailMessage
from pathlib import Path

import pytest

from orion_core.adapters.file_mail import FileMail
from orion_core.ports.mail import MailRefused, MailUnavailable
from orion_core.testing.suites.mail import MailSuite, Post, a_message


def messages(folder: Path) -> Sequence[EmailMessage]:
    return [email.message_from_bytes(path.read_bytes(), policy=email.policy.default) for path in folder.glob("*.eml")]


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


class TestFileMail(MailSuite):
    @asynccontextmanager
    async def post(self) -> AsyncIterator[Post]:
        with tempfile.TemporaryDirectory() as parent:
            folder = Path(parent) / "not" / "there yet"
            mail = FileMail(folder)
            yield Post(mail, lambda: messages(folder))
            await mail.aclose()


async def test_a_file_is_named_by_time_and_recipient(tmp_path: Path) -> None:
    await FileMail(tmp_path).send(a_message(to="Grace Hopper <Grace.Hopper+x@example.org>, ada@example.org"))
    (path,) = files(tmp_path)
    assert re.fullmatch(r"\d{8}T\d{6}\.\d{6}Z-grace\.hopper-x-example\.org-[0-9a-f]{12}\.eml", path.name)


@pytest.mark.parametrize(
    "to", ["../../etc/passwd@example.org", '"/.. "@example.org', "ü@example.org", "a" * 64 + "@" + "b" * 180 + ".org"]
)
async def test_no_recipient_leads_out_of_the_folder(tmp_path: Path, to: str) -> None:
    folder = tmp_path / "mail"
    await FileMail(folder).send(a_message(to=to))
    (path,) = files(folder)
    assert re.fullmatch(r"[0-9TZ.]+-[a-z0-9._-]+-[0-9a-f]{12}\.eml", path.name)
    assert files(tmp_path) == [folder]


async def test_files_sort_in_the_order_of_sending(tmp_path: Path) -> None:
    mail = FileMail(tmp_path)
    for number in range(5):
        await mail.send(a_message(subject=str(number)))
    subjects = [str(email.message_from_bytes(path.read_bytes())["Subject"]) for path in files(tmp_path)]
    assert subjects == ["0", "1", "2", "3", "4"]


async def test_a_person_can_read_the_file_as_it_is(tmp_path: Path) -> None:
    await FileMail(tmp_path).send(
        a_message(to="Gräfin Ada <ada@bücher.example>", subject="Grüße", text="Schöne Grüße\n")
    )
    (path,) = files(tmp_path)
    text = path.read_text(encoding="utf-8")
    assert "To: Gräfin Ada <ada@bücher.example>\n" in text
    assert "Subject: Grüße\n" in text
    assert text.endswith("\n\nSchöne Grüße\n")


async def test_only_the_owner_may_read_mail(tmp_path: Path) -> None:
    folder = tmp_path / "mail"
    await FileMail(folder).send(a_message())
    (path,) = files(folder)
    assert (folder.stat().st_mode & 0o777, path.stat().st_mode & 0o777) == (0o700, 0o600)


async def test_a_disk_that_fails_leaves_no_part_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        assert [path.name for path in tmp_path.glob("*.eml")] == []
        raise OSError(28, "No space left on device")

    mail = FileMail(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(MailUnavailable, match="No space left"):
            await mail.send(a_message())
    assert files(tmp_path) == []
    await mail.send(a_message())
    assert len(messages(tmp_path)) == 1


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc to see which file was synced")
async def test_file_and_folder_are_synced_before_sending_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(os.path.realpath(f"/proc/self/fd/{descriptor}"))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    await FileMail(tmp_path).send(a_message())
    (path,) = files(tmp_path)
    assert synced == [str(tmp_path / f".{path.name}.part"), str(tmp_path)]


async def test_a_folder_that_cannot_be_made_is_unavailable_and_warns(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    mail = FileMail(tmp_path / "file" / "mail")
    with pytest.raises(MailUnavailable, match="cannot be written"):
        await mail.send(a_message())
    check = await mail.check()
    assert (check.status, str(tmp_path / "file" / "mail") in check.detail) == ("warn", True)


async def test_refused_mail_leaves_no_file(tmp_path: Path) -> None:
    message = a_message()
    del message["To"]
    with pytest.raises(MailRefused, match="header To: is missing"):
        await FileMail(tmp_path).send(message)
    assert files(tmp_path) == []
