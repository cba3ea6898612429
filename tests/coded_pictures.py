"""Pictures that carry their number as a code of large blocks, readable after coding and annotating.

The code stands at the top and at the bottom: 20 bits of the number and 4 to check them, the lowest
first, in two rows of 12 blocks, whose size goes with the picture's. Drawing needs no library, so
that a server in any Python can do it.
"""

from typing import Any

COLUMNS, ROWS = 12, 2
PARTS = 12  # a row's share of the height
NUMBER_BITS, CHECK_BITS = 20, 4
BLACK, GREY, WHITE = b"\x10", b"\x70", b"\xeb"


def coded_picture(number: int, width: int = 320, height: int = 240) -> bytes:
    """The picture (height, width) in 8-bit grey that carries a number below 2^20."""
    row_px = height // PARTS
    code = b"".join(
        _line(_bits(number)[row * COLUMNS : (row + 1) * COLUMNS], width) * row_px
        for row in range(ROWS)
    )
    between = height - 2 * ROWS * row_px
    bar = 4 * number % (width - 40)  # something that moves
    line = GREY * bar + WHITE * 40 + GREY * (width - 40 - bar)
    return code + line * between + code


def number_in(rgb: Any) -> int | None:
    """The number that a picture (H, W, 3) or (H, W) carries; None if neither code is readable."""
    height = rgb.shape[0]
    for top in (0, height - ROWS * (height // PARTS)):
        bits = [_is_white(rgb, top, place) for place in range(COLUMNS * ROWS)]
        number = sum(bit << place for place, bit in enumerate(bits[:NUMBER_BITS]))
        if bits == _bits(number):
            return number
    return None


def _bits(number: int) -> list[bool]:
    check = sum(number >> (CHECK_BITS * part) for part in range(5)) + 5 & 15
    coded = number | check << NUMBER_BITS
    return [bool(coded >> place & 1) for place in range(NUMBER_BITS + CHECK_BITS)]


def _line(bits: list[bool], width: int) -> bytes:
    block = width // COLUMNS
    line = b"".join((WHITE if bit else BLACK) * block for bit in bits)
    return line + GREY * (width - len(line))


def _is_white(rgb: Any, top: int, place: int) -> bool:
    row, column = divmod(place, COLUMNS)
    tall, wide = rgb.shape[0] // PARTS, rgb.shape[1] // COLUMNS
    y, x = top + row * tall + tall // 4, column * wide + wide // 4
    inside = rgb[y : y + tall // 2, x : x + wide // 2]
    return bool(inside.mean() > 128)
