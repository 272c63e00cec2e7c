"""Pictures: decoded, turned upright, cut to squares, encoded anew without metadata; in a few threads at the most."""

from __future__ import annotations

import asyncio
import io
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from typing import Any, TypeVar

import attrs

from orion_core.contracts.storage import BrokenPicture, PicturesBusy, PictureTooLarge
from orion_plugins.storage.picture_headers import MOST_FRAMES, Claim, read_claim

T = TypeVar("T")
MOST_PIXELS = 50_000_000
MOST_MEMORY = 50 * 1024 * 1024
"""Bytes that decoding one picture may take; what is made of it afterwards is small."""
_LARGE = 12 * 1024 * 1024
"""Bytes from which on only one picture is worked on at a time."""
_BAND = 64
"""Lines that are converted at once: a second copy of the whole picture would be too much."""

_ORIENTATION = 0x0112
_TURNS = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
"""Orientations of EXIF and Pillow's transpositions that undo them."""


@attrs.frozen
class Square:
    """One size of a picture: at most `side` pixels wide and high."""

    side: int
    data: bytes = attrs.field(repr=False)
    content_type: str


class Workshop:
    """Makes squares of pictures in at most `workers` threads, with at most `queue` pictures waiting."""

    def __init__(self, workers: int, queue: int) -> None:
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="pictures")
        self._room = workers + queue
        self._turn = asyncio.Semaphore(workers)
        self._large = asyncio.Lock()

    async def squares(self, data: bytes, sides: Sequence[int]) -> list[Square]:
        """The picture `data` as a square of each of `sides`; never enlarged.

        Raises `NotAPicture`, `PictureTooLarge` before anything is decoded, `BrokenPicture` and `PicturesBusy`.
        """
        if not self._room:
            raise PicturesBusy("too many pictures wait to be worked on: try again in a moment", retry_after=5)
        self._room -= 1
        try:
            async with AsyncExitStack() as turns:
                # Not on the loop's thread: a picture of millions of tiny blocks takes its time even to look at.
                claim = await self._in_thread(read_claim, data)
                needed = judged(claim, max(sides))
                if needed > _LARGE:
                    await turns.enter_async_context(self._large)
                await turns.enter_async_context(self._turn)
                return await self._in_thread(_squares, data, claim, tuple(sides))
        finally:
            self._room += 1

    async def _in_thread(self, work: Callable[..., T], *args: Any) -> T:
        running = asyncio.get_running_loop().run_in_executor(self._pool, work, *args)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            # A thread cannot be stopped: its turn is over when it is.
            await asyncio.wait([running])
            running.exception()
            raise

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()


def judged(claim: Claim, side: int) -> float:
    """Bytes that decoding takes for squares of at most `side` pixels; raises `PictureTooLarge` and `BrokenPicture`."""
    if not claim.pixels:
        raise BrokenPicture("the picture has no pixels")
    if claim.frames > MOST_FRAMES:
        raise PictureTooLarge(f"the picture has more than {MOST_FRAMES} frames")
    if claim.pixels > MOST_PIXELS:
        raise PictureTooLarge(f"the picture has more than {MOST_PIXELS // 1_000_000} megapixels")
    needed = claim.memory(side)
    if needed > MOST_MEMORY:
        raise PictureTooLarge(f"decoding the picture takes more than {MOST_MEMORY // 2**20} MiB: send a smaller one")
    return needed


def _squares(data: bytes, claim: Claim, sides: tuple[int, ...]) -> list[Square]:
    try:
        from PIL import Image, ImageOps
    except ImportError:
        raise PicturesBusy(
            "this host cannot work on pictures: install the extra images with pip install 'orion-platform[images]'",
            retry_after=None,
        ) from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the claim has been judged already
            with Image.open(io.BytesIO(data), formats=[claim.kind]) as opened:
                if opened.size[0] * opened.size[1] > claim.pixels:
                    raise PictureTooLarge("the picture is larger than its header says")
                opened.draft("RGB", (max(sides), max(sides)))
                clear = opened.mode in ("RGBA", "LA", "PA") or "transparency" in opened.info
                turn = _TURNS.get(opened.getexif().get(_ORIENTATION, 1))
                # The square in the middle stays where it is when the picture is turned: so the small one is turned.
                upright = _middle(opened, "RGBA" if clear else "RGB", max(sides))
                edge = min(max(sides), *upright.size)
                upright = ImageOps.fit(upright, (edge, edge), Image.Resampling.LANCZOS)
                if turn is not None:
                    upright = upright.transpose(Image.Transpose(turn))
    except PictureTooLarge:
        raise
    except Exception as error:
        # Decoders fail in every way there is: with SyntaxError, struct.error, EOFError, even ZeroDivisionError.
        raise BrokenPicture(f"the picture cannot be decoded: {type(error).__name__}") from error
    made = []
    for side in sides:
        edge = min(side, *upright.size)
        square = ImageOps.fit(upright, (edge, edge), Image.Resampling.LANCZOS)
        # A new picture of nothing but pixels: colour profiles, comments and positions stay behind.
        square.info.clear()
        file = io.BytesIO()
        if clear:
            square.save(file, "PNG", optimize=True)
        else:
            square.save(file, "JPEG", quality=85, optimize=True)
        made.append(Square(side, file.getvalue(), "image/png" if clear else "image/jpeg"))
    return made


def _middle(picture: Any, mode: str, side: int) -> Any:
    """The square in the middle of `picture` in `mode`, made smaller by a whole number, but not below `side`."""
    from PIL import Image

    edge = min(picture.size)
    factor = max(1, edge // side)
    left, top = ((length - edge) // 2 for length in picture.size)
    made = Image.new(mode, (-(-edge // factor),) * 2)
    lines = max(1, _BAND // factor) * factor
    for start in range(0, edge, lines):
        box = (left, top + start, left + edge, top + min(start + lines, edge))
        made.paste(picture.crop(box).convert(mode).reduce(factor), (0, start // factor))
    return made
