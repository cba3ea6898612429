"""Labels in the letters that the installed OpenCV has.

OpenCV 4 has ASCII alone; OpenCV 5 has many scripts, but no Hindi, Thai or emoji. Both put question
marks for what they lack, so that is what a character's picture is compared with here. Neither
writes from right to left: Arabic and Hebrew come out backwards.
"""

from collections.abc import Iterable
from functools import cache
from unicodedata import bidirectional, normalize

import cv2
import numpy as np
from anyascii import anyascii
from numpy.typing import NDArray

FONT = cv2.FONT_HERSHEY_DUPLEX


def drawn_label(label: str, class_index: int) -> str:
    """The label as it is drawn: what OpenCV lacks is transliterated, "गिरना" to "girna".

    A label of which nothing is left becomes "class 5".
    """
    text = "".join(map(_drawn_character, normalize("NFC", label)))
    return text if text.strip() else f"class {class_index}"


def undrawable(labels: Iterable[str]) -> list[str]:
    """The labels that are not drawn as they are written, in their order."""
    return [
        label for label in labels if any(_drawn_character(c) != c for c in normalize("NFC", label))
    ]


@cache
def _drawn_character(character: str) -> str:
    """The character, or printable ASCII for it, which may be empty."""
    if character.isascii():
        return character if character.isprintable() else " "
    if "\ud800" <= character <= "\udfff":  # half a surrogate pair: OpenCV 5 crashes on it
        return ""
    if bidirectional(character) in ("R", "AL") or _is_question_mark(character):
        return anyascii(character)
    return character


def _is_question_mark(character: str) -> bool:
    """Whether OpenCV draws one for the character (5), or one for each of its UTF-8 bytes (4)."""
    picture = _picture(character)
    counts = (1, len(character.encode()))
    return any(np.array_equal(picture, _picture("?" * count)) for count in counts)


def _picture(text: str) -> NDArray[np.uint8]:
    canvas = np.zeros((48, 128), dtype=np.uint8)
    cv2.putText(canvas, text, (8, 32), FONT, 1, 255)
    return canvas
