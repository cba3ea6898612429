"""A small picture out of a video: that of the time asked for, upright, as a JPEG."""

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.synthetic_video import draw_picture, write_video
from tubedet.video.still import small_jpeg


def decoded(jpeg: bytes | None) -> NDArray[np.uint8]:
    assert jpeg is not None
    bgr = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert bgr is not None
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB).astype(np.uint8)


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv", "v.avi"])
@pytest.mark.parametrize("frame", [0, 13, 47])
def test_the_picture_is_that_of_its_time(tmp_path: Path, name: str, frame: int) -> None:
    video = write_video(tmp_path / name, frames=48)

    shown = decoded(small_jpeg(video, 1, Fraction(frame, 24), 1000))

    errors = [np.abs(draw_picture(each).astype(int) - shown).mean() for each in range(48)]
    assert int(np.argmin(errors)) == frame


def test_the_picture_is_upright_and_as_wide_as_wanted(tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.mp4", frames=4, rotation=90)

    shown = decoded(small_jpeg(video, 1, Fraction(0), 120))

    assert shown.shape == (160, 120, 3)
    upright = np.rot90(draw_picture(0), -1)
    assert np.abs(cv2.resize(upright, (120, 160)).astype(int) - shown).mean() < 12


def test_there_is_no_picture_of_what_is_no_video(tmp_path: Path) -> None:
    (tmp_path / "v.mp4").write_bytes(b"no video")
    assert small_jpeg(tmp_path / "v.mp4", 1, Fraction(0), 120) is None
    assert small_jpeg(tmp_path / "absent.mp4", 1, Fraction(0), 120) is None
