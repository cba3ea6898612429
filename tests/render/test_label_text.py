"""Labels of any script, with the OpenCV that is installed."""

import cv2
import numpy as np
import pytest

from tubedet.detections import Detection
from tubedet.render.annotate import annotate
from tubedet.render.label_text import drawn_label, undrawable

# No OpenCV so far draws these, or not from right to left; the right side is the usual romanisation.
ROMANISED = {
    "गिरना": "girna",
    "🏃run": ":person_running:run",
    "سقوط": "sqwt",
    "𝐣ump": "jump",
}
DRAWN_BY_OPENCV_5 = {
    "跳跃": "TiaoYue",
    "падение": "padenie",
    "Übersprung": "Ubersprung",
    "Straße": "Strasse",
    "뛰기": "TtwiGi",
}
IS_OPENCV_5 = int(cv2.__version__.partition(".")[0]) >= 5


@pytest.mark.parametrize(("label", "romanised"), ROMANISED.items())
def test_letters_that_opencv_lacks_are_transliterated(label: str, romanised: str) -> None:
    assert drawn_label(label, 5) == romanised
    assert undrawable(["run", label]) == [label]


@pytest.mark.parametrize(("label", "romanised"), DRAWN_BY_OPENCV_5.items())
def test_letters_of_opencv_5_stay_and_become_latin_with_opencv_4(
    label: str, romanised: str
) -> None:
    assert drawn_label(label, 5) == (label if IS_OPENCV_5 else romanised)
    assert undrawable([label]) == ([] if IS_OPENCV_5 else [label])


@pytest.mark.parametrize("label", ["Walk the dog?", "?", "100 % ~{}", " padded"])
def test_a_label_in_ascii_is_drawn_as_it_is(label: str) -> None:
    assert drawn_label(label, 5) == label
    assert undrawable([label]) == []


@pytest.mark.parametrize("label", ["", "  ", "\ud800", "\udcff\udcfe", "\ue000", "\n"], ids=ascii)
def test_a_label_without_anything_to_draw_is_the_number_of_its_class(label: str) -> None:
    assert drawn_label(label, 5) == "class 5"


def test_line_breaks_and_controls_become_blanks() -> None:
    assert drawn_label("get\nup\x00now", 5) == "get up now"
    assert undrawable(["get\nup"]) == ["get\nup"]


def test_a_letter_and_its_accent_apart_are_drawn_as_the_letter_with_accent() -> None:
    assert drawn_label("U\u0308ber", 5) == drawn_label("\u00dcber", 5)
    assert len(undrawable(["U\u0308ber"])) == len(undrawable(["\u00dcber"]))


def test_the_tag_shows_the_transliteration() -> None:
    """Both labels differ in the colour of their class alone: the ink lies at the same places."""
    grey = np.full((240, 320, 3), 90, np.uint8)

    def ink(label: str) -> list[int]:
        box = Detection(label, 5, 0.5, (20.0, 60.0, 200.0, 200.0))
        strip = annotate(grey, [box])[40:55]
        return [int((column != strip[0, 30]).any()) for column in strip.transpose(1, 0, 2)]

    assert sum(ink("गिरना")) > 20
    assert ink("गिरना") == ink("girna")
