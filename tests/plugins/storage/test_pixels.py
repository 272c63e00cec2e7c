"""Pictures: upright, square, without metadata; bombs are refused before they go off."""

from __future__ import annotations

import asyncio
import io
import struct
import threading
import time
import tracemalloc
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orion_core.contracts.storage import BrokenPicture, NotAPicture, PicturesBusy, PictureTooLarge
from orion_plugins.storage import pixels
from orion_plugins.storage.picture_headers import MOST_FRAMES, read_claim
from orion_plugins.storage.pixels import Workshop

Image: Any = pytest.importorskip("PIL.Image", reason="needs the extra images")
MIB = 1024 * 1024


def encoded(kind: str, width: int = 40, height: int = 30, mode: str = "RGB", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.new(mode, (width, height)).save(file, kind, **options)
    return file.getvalue()


def decoded(data: bytes) -> Any:
    picture = Image.open(io.BytesIO(data))
    picture.load()
    return picture


async def squares(data: bytes, *sides: int) -> list[pixels.Square]:
    workshop = Workshop(2, 4)
    try:
        return await workshop.squares(data, sides or (16, 64))
    finally:
        workshop.close()


def png_claiming(width: int, height: int, content: bytes = b"", chunks: bytes = b"") -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunks + chunk(b"IDAT", content) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "width", "height", "frames"),
    [
        (encoded("PNG"), 40, 30, 1),
        (encoded("JPEG"), 40, 30, 1),
        (encoded("JPEG", progressive=True), 40, 30, 1),
        (encoded("GIF"), 40, 30, 1),
        (encoded("WEBP"), 40, 30, 1),
        (encoded("WEBP", lossless=True), 40, 30, 1),
        (encoded("WEBP", mode="RGBA", lossless=True, exif=b"Exif\0\0II*\0\x08\0\0\0\0\0"), 40, 30, 1),
    ],
)
def test_the_header_says_how_large_it_is(data: bytes, width: int, height: int, frames: int) -> None:
    """T28: judged without decoding."""
    claim = read_claim(data)
    assert (claim.width, claim.height, claim.frames) == (width, height, frames)


def animated(kind: str, count: int) -> bytes:
    file = io.BytesIO()
    frames = [Image.new("RGB", (20, 20), (2 * number % 256, 255 * (number % 2), 7)) for number in range(count)]
    frames[0].save(file, kind, save_all=True, append_images=frames[1:], duration=20, lossless=True)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
async def test_frames_are_counted_and_the_first_one_is_taken(kind: str) -> None:
    """T28: at most 100 frames."""
    assert read_claim(animated(kind, 5)).frames == 5
    assert len(await squares(animated(kind, 5))) == 2
    with pytest.raises(PictureTooLarge, match="frames"):
        await squares(animated(kind, MOST_FRAMES + 1))


@pytest.mark.parametrize(
    "data",
    [
        png_claiming(65_000, 65_000),
        png_claiming(7_072, 7_072),
        encoded("GIF")[:6] + struct.pack("<HH", 60_000, 60_000) + encoded("GIF")[10:],
        encoded("WEBP", mode="RGBA", lossless=True, exif=b"Exif\0\0II*\0\x08\0\0\0\0\0")[:24]
        + b"\xff\x3f\x00\xff\x3f\x00"
        + bytes(100),
        encoded("JPEG").replace(
            b"\xff\xc0\x00\x11\x08" + struct.pack(">HH", 30, 40), b"\xff\xc0\x00\x11\x08" + b"\xea" * 4
        ),
    ],
)
async def test_a_bomb_is_refused_before_it_goes_off(data: bytes) -> None:
    """T28: 413, and hardly any memory."""
    tracemalloc.start()
    try:
        with pytest.raises(PictureTooLarge) as caught:
            await squares(data)
        assert tracemalloc.get_traced_memory()[1] < MIB
    finally:
        tracemalloc.stop()
    assert caught.value.status == 413


async def test_a_bomb_within_the_limits_takes_less_than_64_mib() -> None:
    """T28: the largest that is decoded as a whole, and the largest JPEG."""
    side = int((pixels.MOST_MEMORY / 4) ** 0.5)
    row = b"\x00" + bytes(3 * side)
    packer = zlib.compressobj()
    content = b"".join([packer.compress(row) for _ in range(side)] + [packer.flush()])
    bomb = png_claiming(side, side, content)
    assert len(bomb) < MIB // 8
    before = resident()
    peak = await watched(squares(bomb, 64))
    assert peak - before < 64 * MIB
    large = encoded("JPEG", 7_000, 7_000)
    before = resident()
    peak = await watched(squares(large, 512))
    assert peak - before < 64 * MIB


@pytest.mark.parametrize(
    ("kind", "mode", "options"),
    [
        ("PNG", "RGBA", {}),
        ("PNG", "LA", {}),
        ("PNG", "I;16", {}),
        ("GIF", "P", {"transparency": 0}),
        ("JPEG", "RGB", {"progressive": True, "subsampling": 0}),
        ("JPEG", "RGB", {"progressive": True}),
        ("JPEG", "CMYK", {"progressive": True}),
        ("WEBP", "RGB", {"method": 0}),
        ("WEBP", "RGBA", {"method": 0}),
        ("WEBP", "RGBA", {"method": 0, "lossless": True}),
    ],
)
async def test_the_largest_of_every_kind_takes_less_than_64_mib(kind: str, mode: str, options: dict[str, Any]) -> None:
    """T28: what is taken costs as little as what is refused."""
    claim = read_claim(encoded(kind, 160, 160, mode, **options))
    side = next(
        each
        for each in range(7_000, 0, -16)
        if attrs.evolve(claim, width=each, height=each).memory(512) <= pixels.MOST_MEMORY
    )
    data = encoded(kind, side, side, mode, **options)
    await squares(encoded(kind, 32, 32, mode, **options))
    before = resident()
    assert await watched(squares(data, 64, 256, 512)) - before < 64 * MIB
    with pytest.raises(PictureTooLarge):
        await squares(encoded(kind, side + 64, side + 64, mode, **options))


def jpeg_colour_by_colour(width: int, height: int) -> bytes:
    """A black baseline JPEG with a scan for each of its colours."""

    def segment(marker: int, content: bytes) -> bytes:
        return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content

    frame = struct.pack(">BHHB", 8, height, width, 3) + bytes([1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0])
    tables = segment(0xDB, b"\0" + bytes([1]) * 64) + segment(0xC0, frame)
    # Each block is six bits long: no difference to the one before, and the end.
    tables += segment(0xC4, bytes([0x00, 0, 1, *bytes(14), 0])) + segment(
        0xC4, bytes([0x10, 0, 0, 0, 1, *bytes(12), 0])
    )
    blocks = bytes(-(-width // 8) * -(-height // 8) * 6 // 8 + 1)
    scans = b"".join(segment(0xDA, bytes([1, colour, 0, 0, 63, 0])) + blocks for colour in (1, 2, 3))
    return b"\xff\xd8" + tables + scans + b"\xff\xd9"


async def test_a_jpeg_that_has_to_be_held_as_a_whole_is_judged_as_such() -> None:
    """T28: colour by colour instead of line by line, or too flat to be decoded to a fraction."""
    assert len(await squares(jpeg_colour_by_colour(64, 64))) == 2
    flat = encoded("JPEG", 65_000, 16)
    assert len(await squares(flat)) == 2
    for data in (jpeg_colour_by_colour(7_000, 7_000), encoded("JPEG", 65_000, 760)):
        with pytest.raises(PictureTooLarge):
            await squares(data, 512)


async def test_texts_that_unpack_to_megabytes_count() -> None:
    """T28: a PNG may carry bombs beside its pixels, before and behind them."""

    def chunk(number: int) -> bytes:
        content = b"zTXtk%d\0\0" % number + zlib.compress(bytes(MIB - 1), 9)
        return struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))

    texts = b"".join(map(chunk, range(60)))
    whole = encoded("PNG", mode="RGBA")
    end = whole.index(b"IEND") - 4
    for bomb in (whole[:33] + texts + whole[33:], whole[:end] + texts + whole[end:]):
        with pytest.raises(PictureTooLarge):
            await squares(bomb)
    assert len(await squares(whole[:33] + chunk(0) + whole[33:])) == 2


async def test_a_square_is_what_is_in_the_middle() -> None:
    """T28: however much larger the picture is."""
    for width, height in ((1000, 400), (400, 1000), (70, 40)):
        picture = Image.new("RGB", (width, height), (255, 0, 0))
        edge = min(width, height)
        box = ((width - edge) // 2, (height - edge) // 2)
        picture.paste((0, 0, 255), (*box, box[0] + edge, box[1] + edge))
        file = io.BytesIO()
        picture.save(file, "PNG")
        (square,) = await squares(file.getvalue(), 32)
        red, _, blue = decoded(square.data).resize((1, 1)).getpixel((0, 0))
        assert red < 12
        assert blue > 240


def resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


async def watched(work: Any) -> int:
    """Run `work` and return the most memory that was seen meanwhile."""
    most, over = resident(), threading.Event()

    def watch() -> None:
        nonlocal most
        while not over.is_set():
            most = max(most, resident())
            time.sleep(0.001)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        assert await work
    finally:
        over.set()
        watcher.join()
    return most


async def test_squares_are_upright_and_without_metadata() -> None:
    """T28: orientation applied first, then nothing but pixels."""
    for orientation in range(1, 9):
        picture = Image.new("RGB", (60, 60), (255, 255, 255))
        picture.paste((255, 0, 0), (0, 0, 30, 30))
        exif = Image.Exif()
        exif[0x0112] = orientation
        exif[0x010E] = "a secret description"
        file = io.BytesIO()
        picture.save(file, "JPEG", exif=exif, comment=b"a secret comment", icc_profile=b"secret profile", quality=95)
        wanted = {1: (0, 0), 2: (1, 0), 3: (1, 1), 4: (0, 1), 5: (0, 0), 6: (1, 0), 7: (1, 1), 8: (0, 1)}[orientation]
        (square,) = await squares(file.getvalue(), 40)
        assert b"secret" not in square.data
        upright = decoded(square.data)
        assert dict(upright.getexif()) == {}
        for place in ((0, 0), (1, 0), (0, 1), (1, 1)):
            red, green, _ = upright.getpixel((10 + 20 * place[0], 10 + 20 * place[1]))
            assert (red > 200, green < 90) == (True, place == wanted), (orientation, place)


async def test_png_text_stays_behind() -> None:
    """T28."""
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("Comment", "a secret")
    (square,) = await squares(encoded("PNG", mode="RGBA", pnginfo=info), 20)
    assert b"secret" not in square.data
    assert square.content_type == "image/png"


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
async def test_every_mode_of_pixels_is_taken(mode: str) -> None:
    made = await squares(encoded("PNG", mode=mode), 16, 64)
    assert [decoded(square.data).size for square in made] == [(16, 16), (30, 30)]
    assert {square.content_type for square in made} == {"image/png" if mode in ("LA", "RGBA") else "image/jpeg"}


async def test_cmyk_is_taken() -> None:
    made = await squares(encoded("JPEG", mode="CMYK"))
    assert decoded(made[0].data).mode == "RGB"


@pytest.mark.parametrize("data", [b"", b"<html>", b"%PDF-1.7", b"BM" + bytes(60), b"RIFFxxxxWAVE", b"GIF88a"])
async def test_what_is_no_picture_is_refused(data: bytes) -> None:
    """T29: the kind comes from the first bytes."""
    with pytest.raises(NotAPicture):
        await squares(data)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP"])
async def test_a_picture_cut_anywhere_is_refused_or_made(kind: str) -> None:
    whole = encoded(kind, 200, 100)
    for end in range(4, len(whole), max(1, len(whole) // 40)):
        with suppress(NotAPicture, PictureTooLarge, BrokenPicture):
            await squares(whole[:end], 16)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["PNG", "JPEG", "GIF", "WEBP"]), st.integers(8, 400), st.binary(min_size=1, max_size=20))
def test_damaged_pictures_are_refused_or_made(kind: str, at: int, damage: bytes) -> None:
    """T28: no damage leads to anything but an error of ours."""
    whole = encoded(kind, 64, 48)
    data = whole[:at] + damage + whole[at + len(damage) :]
    with suppress(NotAPicture, PictureTooLarge, BrokenPicture):
        asyncio.run(squares(data, 16))


async def test_more_pictures_than_the_queue_holds_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """T31: a limiter bounds workers and memory."""
    go, running, most = threading.Event(), 0, 0
    lock = threading.Lock()

    def slow(*_: Any) -> list[pixels.Square]:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        go.wait(10)
        with lock:
            running -= 1
        return []

    monkeypatch.setattr(pixels, "_squares", slow)
    workshop = Workshop(2, 3)
    tasks = [asyncio.ensure_future(workshop.squares(encoded("PNG"), (16,))) for _ in range(5)]
    await asyncio.sleep(0)
    with pytest.raises(PicturesBusy):
        await workshop.squares(encoded("PNG"), (16,))
    tasks[4].cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    go.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert most <= 2
    assert await workshop.squares(encoded("PNG"), (16,)) == []
    workshop.close()


async def test_an_empty_picture_is_broken() -> None:
    with pytest.raises((BrokenPicture, NotAPicture)):
        await squares(png_claiming(0, 5))
