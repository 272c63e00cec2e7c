"""What a picture says of itself, read without decoding it. Pure functions.

Decoders allocate by what a header promises, some of them while they open the file. So the promise is judged first
(T28): a few hundred bytes may claim to be a picture of gigabytes.
"""

from __future__ import annotations

import struct
from typing import Literal

import attrs

from orion_core.contracts.storage import BrokenPicture, NotAPicture

Kind = Literal["PNG", "JPEG", "GIF", "WEBP"]
MOST_FRAMES = 100


@attrs.frozen
class Claim:
    """What the header promises. `frames` stops counting behind `MOST_FRAMES`; `whole` is false for what can be decoded
    to a fraction of its size."""

    kind: Kind
    width: int
    height: int
    frames: int = 1
    whole: bool = True

    @property
    def pixels(self) -> int:
        """The pixels of one frame."""
        return self.width * self.height


def read_claim(data: bytes) -> Claim:
    """The claim of the picture `data`; raises `NotAPicture`, and `BrokenPicture` for one that is cut short."""
    try:
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            return _png(data)
        if data.startswith(b"\xff\xd8\xff"):
            return _jpeg(data)
        if data[:6] in (b"GIF87a", b"GIF89a"):
            return _gif(data)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp(data)
    except (struct.error, IndexError):
        raise BrokenPicture("the picture is cut short") from None
    raise NotAPicture("send a PNG, JPEG, WebP or GIF picture")


def _png(data: bytes) -> Claim:
    width, height = struct.unpack_from(">II", data, 16)
    frames, at = 1, 8
    while at + 8 <= len(data):
        (size,), kind = struct.unpack_from(">I", data, at), data[at + 4 : at + 8]
        if kind == b"acTL":
            frames = struct.unpack_from(">I", data, at + 8)[0]
        if kind in (b"IDAT", b"IEND"):
            break
        at += 12 + size
    return Claim("PNG", width, height, frames)


def _jpeg(data: bytes) -> Claim:
    at = 2
    while True:
        while data[at] != 0xFF:
            at += 1
        while data[at] == 0xFF:
            at += 1
        marker = data[at]
        at += 1
        if marker in (0x01, *range(0xD0, 0xD9)):
            continue
        if marker in (0xD9, 0xDA):
            raise BrokenPicture("the picture has no frame")
        (size,) = struct.unpack_from(">H", data, at)
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, at + 3)
            return Claim("JPEG", width, height, whole=marker not in (0xC0, 0xC1))
        at += size


def _gif(data: bytes) -> Claim:
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at = 13 + (3 << ((flags & 7) + 1) if flags & 0x80 else 0)
    frames = 0
    while at < len(data) and frames <= MOST_FRAMES:
        block = data[at]
        if block == 0x2C:
            frames += 1
            left, top, inner_width, inner_height, flags = struct.unpack_from("<HHHHB", data, at + 1)
            # A frame may be larger than the screen, and makes the decoder grow it.
            width, height = max(width, left + inner_width), max(height, top + inner_height)
            at += 11 + (3 << ((flags & 7) + 1) if flags & 0x80 else 0)
        elif block == 0x21:
            at += 2
        else:
            break
        while at < len(data) and data[at]:
            at += data[at] + 1
        at += 1
    return Claim("GIF", width, height, max(frames, 1))


def _webp(data: bytes) -> Claim:
    kind = data[12:16]
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return Claim("WEBP", width & 0x3FFF, height & 0x3FFF)
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return Claim("WEBP", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if kind != b"VP8X":
        raise BrokenPicture("the picture is no WebP that is known")
    width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
    frames, at = 0, 12
    while at + 8 <= len(data) and frames <= MOST_FRAMES:
        frames += data[at : at + 4] == b"ANMF"
        (size,) = struct.unpack_from("<I", data, at + 4)
        at += 8 + size + (size & 1)
    return Claim("WEBP", width, height, max(frames, 1))
