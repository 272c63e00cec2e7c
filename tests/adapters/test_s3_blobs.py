"""Blobs in S3: against a small server of our own, and a real one when ORION_TEST_S3_URL names a bucket."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from s3_server import s3_server

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
    """T40: against our own server, which is strict about parts and knows which uploads are still open."""

    @asynccontextmanager
    async def blobs(self) -> AsyncIterator[Blobs]:
        from orion_core.adapters.s3_blobs import S3Blobs

        async with s3_server() as self.server:
            blobs = S3Blobs(self.server.url)
            yield blobs
            await blobs.aclose()

    async def check_leftovers(self, blobs: Blobs) -> None:
        assert self.server.uploads == {}


class TestRealS3Blobs(BlobsSuite):
    @asynccontextmanager
    async def blobs(self) -> AsyncIterator[Blobs]:
        from orion_core.adapters.s3_blobs import S3Blobs

        blobs = S3Blobs(s3_url())
        yield blobs
        await blobs.delete(*[info.key async for info in blobs.list()])
        await blobs.aclose()


@pytest.mark.parametrize("refusals", [1, 3])
async def test_a_store_that_asks_to_slow_down_is_asked_again(refusals: int) -> None:
    """T40: 503 SlowDown."""
    from orion_core.adapters.s3_blobs import S3Blobs

    async with s3_server() as server:
        blobs, key = S3Blobs(server.url), new_key()
        server.refusals = [(503, "SlowDown")] * refusals
        assert await blobs.put(key, pieces_of(b"abc")) == 3
        server.refusals = [(503, "SlowDown")] * refusals
        assert await read(blobs, key) == b"abc"
        server.refusals = [(503, "SlowDown")] * refusals
        assert await blobs.put(key, pieces_of(*(b"x" * 1_000_000 for _ in range(20)))) == 20_000_000
        assert len(server.objects[key][0]) == 20_000_000
        assert server.refusals == []


@pytest.mark.parametrize(
    "refusal", [(403, "RequestTimeTooSkewed"), (403, "SignatureDoesNotMatch"), (404, "NoSuchBucket")]
)
async def test_a_store_that_refuses_is_unavailable_and_says_why_only_in_the_log(refusal: tuple[int, str]) -> None:
    """T40: clock skew; a client learns neither the keys nor the exchange."""
    from orion_core.adapters.s3_blobs import S3Blobs

    async with s3_server() as server:
        blobs = S3Blobs(server.url)
        server.refusals = [refusal] * 100
        for put in (pieces_of(b"abc"), pieces_of(*(b"x" * 1_000_000 for _ in range(20)))):
            with pytest.raises(BlobsUnavailable) as caught:
                await blobs.put(new_key(), put)
            assert "http" not in str(caught.value)
        assert (await blobs.check()).status == "fail"


async def test_a_prefix_keeps_two_stores_apart() -> None:
    """T40: keys lie below the prefix, and are told without it."""
    from orion_core.adapters.s3_blobs import S3Blobs

    async with s3_server() as server:
        one, two = (S3Blobs(server.url.replace("bucket?", f"bucket/{name}?")) for name in ("one", "two"))
        await one.put("a/b", pieces_of(b"1"))
        assert list(server.objects) == ["one/a/b"]
        assert [info.key async for info in one.list()] == ["a/b"]
        assert [info.key async for info in two.list()] == []


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
