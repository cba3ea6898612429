"""Colours of classes: stable, distinct, and with text that reads on them."""

import itertools

import numpy as np
import pytest

from tubedet.labels import JHMDB_21, UCF101_24, VOC_20
from tubedet.render.palette import BLACK, WHITE, class_color, contrast_ratio, text_color


@pytest.mark.parametrize("names", [UCF101_24, JHMDB_21, VOC_20], ids=["UCF", "JHMDB", "VOC"])
def test_the_classes_of_a_data_set_have_colours_that_differ_visibly(names: tuple[str, ...]) -> None:
    for first, second in itertools.combinations(names, 2):
        steps = np.subtract(class_color(first), class_color(second))
        assert np.abs(steps).sum() > 40, (first, second)


def test_a_class_has_the_same_colour_in_every_version() -> None:
    assert class_color("Basketball") == (247, 97, 154)
    assert class_color("my own class") == (255, 157, 158)


def test_the_text_on_a_tag_has_the_contrast_that_wcag_asks_for() -> None:
    for label in (*UCF101_24, *JHMDB_21, *(f"class {number}" for number in range(200))):
        assert contrast_ratio(text_color(class_color(label)), class_color(label)) >= 4.5, label


def test_contrast_is_21_for_black_on_white_and_1_for_equal_colours() -> None:
    assert contrast_ratio(BLACK, WHITE) == pytest.approx(21)
    assert contrast_ratio((9, 99, 199), (9, 99, 199)) == 1
