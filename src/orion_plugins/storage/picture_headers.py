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
_RESULT = 4
"""Bytes of a decoded pixel: the library has no fewer for one with colours."""
_CANVASES = 13
"""Bytes per pixel of the copies that the decoder of WebP makes."""
_TEXT = 1024 * 1024
"""Bytes to which the library unpacks one text of a PNG."""


@attrs.frozen
class Claim:
    """What the header promises. `frames` stops counting behind `MOST_FRAMES`.

    `held` are the bytes per pixel that the decoder needs beside its result, whatever size that has; `aside` are those
    of compressed texts.
    """

    kind: Kind
    width: int
    height: int
    frames: int = 1
    held: float = 0.0
    aside: int = 0

    @property
    def pixels(self) -> int:
        """The pixels of one frame."""
        return self.width * self.height

    def memory(self, side: int) -> float:
        """Bytes that decoding takes at most, where nothing larger than `side` pixels is wanted of it."""
        fraction = min(self.width, self.height) // side if self.kind == "JPEG" else 1
        fraction = next(each for each in (8, 4, 2, 1) if fraction >= each or each == 1)
        return self.pixels * (self.held + _RESULT / fraction**2) + self.aside


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
    except (struct.error, IndexError, ValueError):
        raise BrokenPicture("the picture is cut short") from None
    raise NotAPicture("send a PNG, JPEG, WebP or GIF picture")


def _png(data: bytes) -> Claim:
    width, height = struct.unpack_from(">II", data, 16)
    frames, texts, at = 1, 0, 8
    while at + 8 <= len(data):
        (size,), kind = struct.unpack_from(">I", data, at), data[at + 4 : at + 8]
        if kind == b"acTL":
            frames = struct.unpack_from(">I", data, at + 8)[0]
        # They are unpacked while the picture is opened, and kept.
        texts += kind in (b"zTXt", b"iTXt", b"iCCP")
        if kind == b"IEND":
            break
        at += 12 + size
    return Claim("PNG", width, height, frames, aside=texts * _TEXT)


def _jpeg(data: bytes) -> Claim:
    at, frame = 2, 0
    while True:
        at = data.index(b"\xff", at)
        while data[at] == 0xFF:
            at += 1
        marker = data[at]
        at += 1
        if marker in (0x00, 0x01, *range(0xD0, 0xD9)):
            continue
        if marker == 0xD9 or (marker == 0xDA and not frame):
            raise BrokenPicture("the picture has no frame")
        if marker == 0xDA:
            return _jpeg_frame(data, frame, components=data[at + 2])
        (size,) = struct.unpack_from(">H", data, at)
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            if frame:
                raise BrokenPicture("the picture has two frames")
            frame = at - 1
        at += size


def _jpeg_frame(data: bytes, at: int, components: int) -> Claim:
    """The claim of the frame whose marker is at `at`, and whose first scan has so many `components`."""
    height, width, count = struct.unpack_from(">HHB", data, at + 4)
    if count not in (1, 3, 4):
        raise BrokenPicture("the picture has no colours that are known")
    samples = [divmod(data[at + 10 + 3 * number], 16) for number in range(count)]
    most = max(across for across, _ in samples) * max(down for _, down in samples)
    # What comes in one go is decoded line by line. Else the decoder holds two bytes for every sample.
    at_once = data[at] in (0xC0, 0xC1) and components == count
    held = 0.0 if at_once or not most else 2 * sum(across * down for across, down in samples) / most
    return Claim("JPEG", width, height, held=held)


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
        return Claim("WEBP", width & 0x3FFF, height & 0x3FFF, held=_CANVASES)
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return Claim("WEBP", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, held=_CANVASES)
    if kind != b"VP8X":
        raise BrokenPicture("the picture is no WebP that is known")
    width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
    frames, at = 0, 12
    while at + 8 <= len(data) and frames <= MOST_FRAMES:
        frames += data[at : at + 4] == b"ANMF"
        (size,) = struct.unpack_from("<I", data, at + 4)
        at += 8 + size + (size & 1)
    return Claim("WEBP", width, height, max(frames, 1), held=_CANVASES)
