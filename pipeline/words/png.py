# SPDX-License-Identifier: LGPL-2.1-or-later
"""PNG to pixels and back: eight bits a channel, RGB or RGBA, not interlaced; and QEMU's own PPM.

QEMU writes the file, but a guest chooses its size and its pixels: all is bounded before it is
unpacked. Formats: https://www.w3.org/TR/png-3/ and https://netpbm.sourceforge.net/doc/ppm.html
"""

import re
import struct
import zlib
from dataclasses import dataclass

MOST_PIXELS = 4096 * 4096
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {2: 3, 6: 4}
_HEADER = struct.Struct(">IIBBBBB")
_LOW, _HIGH = 0x7F, 0x80
_PPM = re.compile(rb"P6\n(\d{1,5}) (\d{1,5})\n255\n")
"""As QEMU writes it: no comments."""


class NotAPicture(ValueError):
    """The bytes are no picture of the kind that is read here; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """Pixels, three bytes each, row by row from the top."""

    width: int
    height: int
    pixels: bytes

    def row(self, number: int) -> bytes:
        """Cut out a row."""
        size = self.width * 3
        return self.pixels[number * size : (number + 1) * size]


def read_png(data: bytes) -> Picture:
    """Read a picture; raises NotAPicture."""
    if not data.startswith(_SIGNATURE):
        raise NotAPicture("it does not begin as a PNG")
    header, packed = _chunks(data)
    width, height, depth, colour, _, _, interlaced = _HEADER.unpack(header)
    channels = _CHANNELS.get(colour)
    if depth != 8 or channels is None or interlaced:
        raise NotAPicture(f"{depth} bits, colour type {colour} and interlace {interlaced}")
    if not 0 < width * height <= MOST_PIXELS:
        raise NotAPicture(f"{width} by {height} pixels")
    wanted = height * (1 + width * channels)
    unpacker = zlib.decompressobj()
    try:
        raw = unpacker.decompress(packed, wanted + 1)
    except zlib.error as error:
        raise NotAPicture(f"its pixels cannot be unpacked: {error}") from error
    if len(raw) != wanted:
        raise NotAPicture(f"it has {len(raw)} bytes of pixels instead of {wanted}")
    pixels = _unfiltered(raw, width * channels, channels)
    if channels == 4:
        pixels = _without_alpha(pixels)
    return Picture(width=width, height=height, pixels=pixels)


def read_ppm(data: bytes) -> Picture:
    """Read a picture as QEMU writes it where it is to be quick; raises NotAPicture."""
    header = _PPM.match(data)
    if header is None:
        raise NotAPicture("it does not begin as a PPM")
    width, height = map(int, header.groups())
    if not 0 < width * height <= MOST_PIXELS:
        raise NotAPicture(f"{width} by {height} pixels")
    found, wanted = len(data) - header.end(), width * height * 3
    if found != wanted:
        raise NotAPicture(f"it has {found} bytes of pixels instead of {wanted}")
    return Picture(width=width, height=height, pixels=data[header.end() :])


def write_png(picture: Picture, *, level: int = 6) -> bytes:
    """Write a picture; ``level`` is that of zlib."""
    header = _HEADER.pack(picture.width, picture.height, 8, 2, 0, 0, 0)
    rows = b"".join(b"\0" + picture.row(number) for number in range(picture.height))
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, level)), (b"IEND", b""))
    return _SIGNATURE + b"".join(_chunk(kind, body) for kind, body in parts)


def _chunk(kind: bytes, body: bytes) -> bytes:
    sum_of = zlib.crc32(kind + body)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", sum_of)


def _chunks(data: bytes) -> tuple[bytes, bytes]:
    """Tell the header and all packed pixels."""
    header, packed, at = b"", [], len(_SIGNATURE)
    while at + 12 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        at += 12 + size
        if at > len(data):
            break
        if kind == b"IHDR":
            header = body
        elif kind == b"IDAT":
            packed.append(body)
        elif kind == b"IEND":
            if len(header) != _HEADER.size:
                raise NotAPicture("it has no header")
            return header, b"".join(packed)
    raise NotAPicture("it is cut short")


def _unfiltered(raw: bytes, size: int, step: int) -> bytes:
    """Undo what each row's filter did; ``step`` is the bytes of a pixel."""
    above = bytes(size)
    rows = []
    for at in range(0, len(raw), size + 1):
        row = raw[at + 1 : at + 1 + size]
        match raw[at]:
            case 0:
                pass
            case 1:
                row = _left(row, step)
            case 2:
                row = _up(row, above)
            case 3:
                row = _average(row, above, step)
            case 4:
                row = _paeth(row, above, step)
            case other:
                raise NotAPicture(f"a row has filter {other}")
        rows.append(row)
        above = row
    return b"".join(rows)


def _up(row: bytes, above: bytes) -> bytes:
    """Add the row above, all bytes of it at once: sums that do not carry into the next byte."""
    size = len(row)
    low, high = (int.from_bytes(bytes([one]) * size, "big") for one in (_LOW, _HIGH))
    one, other = int.from_bytes(row, "big"), int.from_bytes(above, "big")
    return (((one & low) + (other & low)) ^ ((one ^ other) & high)).to_bytes(size, "big")


def _left(row: bytes, step: int) -> bytes:
    found = bytearray(row)
    for at in range(step, len(found)):
        found[at] = (found[at] + found[at - step]) & 0xFF
    return bytes(found)


def _average(row: bytes, above: bytes, step: int) -> bytes:
    found = bytearray(row)
    for at, up in enumerate(above):
        left = found[at - step] if at >= step else 0
        found[at] = (found[at] + (left + up) // 2) & 0xFF
    return bytes(found)


def _paeth(row: bytes, above: bytes, step: int) -> bytes:
    found = bytearray(row)
    for at, up in enumerate(above):
        left, corner = (found[at - step], above[at - step]) if at >= step else (0, 0)
        by_left, by_up = abs(up - corner), abs(left - corner)
        by_corner = abs(left + up - 2 * corner)
        if by_left <= by_up and by_left <= by_corner:
            nearest = left
        else:
            nearest = up if by_up <= by_corner else corner
        found[at] = (found[at] + nearest) & 0xFF
    return bytes(found)


def _without_alpha(pixels: bytes) -> bytes:
    found = bytearray(len(pixels) // 4 * 3)
    for channel in range(3):
        found[channel::3] = pixels[channel::4]
    return bytes(found)
