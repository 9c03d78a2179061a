"""A payload as one zstd frame: what is alike in neighbouring numbers is brought together, and then packed.

Bytes are shuffled first: of each piece of numbers come all first bytes, then all second ones, and so on. The last bytes
of a float are its sign and exponent, which hardly differ from number to number (Alted, Why Modern CPUs Are Starving,
Computing in Science & Engineering 2010). Source: RFC 8878; FORMAT.md section 4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedmed.errors import FedmedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Regions = Sequence[tuple[int, int]]  # bytes of one number and of all of them, from front to back

LEVEL = 1  # higher ones gain about a percent and take several times as long
PIECE = 1 << 18  # numbers that are shuffled together
MAX_WINDOW = 8 << 20  # what a decoder must hold; RFC 8878 recommends to support it
MAGIC = b"\x28\xb5\x2f\xfd"
MAX_HEADER = 18  # of a frame
# Four bytes of a frame can stand for 128 KiB. Given so few at a time, a bomb grows to 16 MiB before it is found out.
SLICE = 512


def most(size: int) -> int:
    """The largest frame of `size` bytes: what cannot be packed grows by less than that."""
    return size + size // 128 + 1024


def pack(payload: bytes, regions: Regions) -> bytes:
    """One frame without checksum. The same bytes for the same bytes, by the same version of the library."""
    import zstandard  # noqa: PLC0415 - most updates are not compressed

    parts, first = [], 0
    for width, size in _pieces(regions):
        parts.append(_shuffled(payload[first : first + size], width))
        first += size
    return zstandard.ZstdCompressor(level=LEVEL, write_content_size=True).compress(b"".join(parts))


def _pieces(regions: Regions) -> Iterator[tuple[int, int]]:
    """What is shuffled together: bytes of one number and of all of them."""
    for width, size in regions:
        yield from ((width, min(PIECE * width, size - first)) for first in range(0, size, PIECE * width))


def _shuffled(data: bytes, width: int) -> bytes:
    import numpy as np  # noqa: PLC0415 - as zstandard

    return np.frombuffer(data, np.uint8).reshape(-1, width).T.tobytes()


def _in_order(data: bytes, width: int) -> bytes:
    import numpy as np  # noqa: PLC0415 - as zstandard

    return np.frombuffer(data, np.uint8).reshape(width, -1).T.tobytes()


class Unpacker:
    """Takes the frame in pieces of any length and gives the payload to `write`, a MiB at a time.

    Nothing beyond the expected size is handed on. What is wrong comes out at the end, when a caller has compared the
    hash.
    """

    def __init__(self, regions: Regions, write: Callable[[bytes], object]) -> None:
        import zstandard  # noqa: PLC0415 - most updates are not compressed

        self._frame = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW).decompressobj()
        self._size, self._write = sum(size for _, size in regions), write
        self._pieces = _pieces(regions)
        self._piece = next(self._pieces, None)
        self._head, self._is_begun = b"", False
        self._plain, self._done = bytearray(), 0
        self._fault = ""

    def feed(self, data: bytes) -> None:
        """The next bytes of the frame."""
        if not self._is_begun:
            self._head += data
            if len(self._head) < MAX_HEADER:
                return
            self._is_begun, data = True, self._head
            self._fault = _wrong(self._head[:MAX_HEADER], self._size)
        view = memoryview(data)
        for first in range(0, len(view), SLICE):
            if not self._fault:
                self._unpack(view[first : first + SLICE])

    def close(self) -> None:
        """The end of the bytes. Raises FedmedError FM-ENC-03."""
        if not self._fault and not (self._frame.eof and self._done == self._size):
            self._fault = "the zstd frame ends too early"
        if self._fault:
            raise FedmedError("FM-ENC-03", self._fault)

    def _unpack(self, part: memoryview) -> None:
        import zstandard  # noqa: PLC0415 - as above

        try:
            plain = b"" if self._frame.eof else self._frame.decompress(part)
        except zstandard.ZstdError:
            self._fault = "the zstd frame cannot be unpacked"
            return
        if self._frame.unused_data or (self._frame.eof and not plain):
            self._fault = "expected nothing behind the zstd frame"
        self._done += len(plain)
        if self._done > self._size:
            self._fault = f"the zstd frame holds more than the {self._size} bytes of the table"
            return
        self._plain += plain
        while self._piece is not None and len(self._plain) >= self._piece[1]:
            width, size = self._piece
            self._write(_in_order(bytes(self._plain[:size]), width))
            del self._plain[:size]
            self._piece = next(self._pieces, None)


def _wrong(head: bytes, size: int) -> str:
    """What the beginning of a frame says that it must not."""
    import zstandard  # noqa: PLC0415 - as above

    try:
        said = zstandard.get_frame_parameters(head) if head.startswith(MAGIC) else None
    except zstandard.ZstdError:
        said = None
    if said is None:
        return "expected a zstd frame"
    if said.content_size != size or said.window_size > MAX_WINDOW or said.dict_id or said.has_checksum:
        return f"expected a zstd frame of {size} bytes with a window of at most 8 MiB, no dictionary and no checksum"
    return ""


def beginning(frame: bytes, limit: int) -> bytes:
    """The first `limit` bytes of what lies in a frame that nobody has verified; fewer where it is not one."""
    import zstandard  # noqa: PLC0415 - as above

    reader = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW).stream_reader(frame)
    try:
        return reader.read(limit)
    except zstandard.ZstdError:
        return b""
