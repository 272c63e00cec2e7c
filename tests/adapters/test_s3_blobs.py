"""Blobs in S3: runs when ORION_TEST_S3_URL names a bucket that may be written to."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from orion_core.errors import StartRefused
from orion_core.ports.blobs import Blobs, BlobsUnavailable
from orion_core.testing.suites.blobs import BlobsSuite, new_key, pieces_of, read

pytest.importorskip("obstore", reason="needs the extra s3")


def s3_url() -> str:
    """The URL of a bucket, with a prefix of its own; skips the test when there is none."""
    url = os.environ.get("ORION_TEST_S3_URL", "")
    if not url:
        message = "needs a bucket: set ORION_TEST_S3_URL=s3://key:secret@bucket?endpoint=http://host&region=r"
        pytest.skip(message)
    head, mark, query = url.partition("?")
    return f"{head.rstrip('/')}/test-{uuid.uuid4().hex}{mark}{query}"


class TestS3Blobs(BlobsSuite):
    @asynccontextmanager
    async def blobs(self) -> AsyncIterator[Blobs]:
        from orion_core.adapters.s3_blobs import S3Blobs

        blobs = S3Blobs(s3_url())
        yield blobs
        await blobs.delete(*[info.key async for info in blobs.list()])
        await blobs.aclose()


async def test_a_store_that_is_away_is_unavailable() -> None:
    """T41: the metadata goes on working, and nobody waits for long."""
    from orion_core.adapters.s3_blobs import S3Blobs

    blobs = S3Blobs("s3://key:secret@bucket?endpoint=http://127.0.0.1:9&region=us-east-1", attempts=0)
    with pytest.raises(BlobsUnavailable):
        await read(blobs, new_key())
    with pytest.raises(BlobsUnavailable):
        await blobs.put(new_key(), pieces_of(b"x"))
    with pytest.raises(BlobsUnavailable):
        await blobs.put(new_key(), pieces_of(*(b"x" * 1_000_000 for _ in range(20))))
    assert (await blobs.check()).status == "fail"


@pytest.mark.parametrize("url", ["s3://", "s3://bucket?endpont=http://x"])
def test_a_url_that_says_too_little_or_too_much_refuses_the_start(url: str) -> None:
    from orion_core.adapters.s3_blobs import S3Blobs

    with pytest.raises(StartRefused, match="ORION_BLOBS_URL"):
        S3Blobs(url)


def test_the_secret_is_never_shown() -> None:
    from orion_core.adapters.s3_blobs import S3Blobs

    assert "hush" not in repr(S3Blobs("s3://key:hush@bucket?region=us-east-1"))
