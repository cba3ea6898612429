"""MPI-Sintel's layout and its damage."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.sintel_layout import write_sintel
from tests.synthetic_video import draw_picture
from tubedet.datasets.sintel import list_sintel, read_flo
from tubedet.errors import DatasetError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_sintel(tmp_path, {"alley_1": (3.0, -2.0), "cave_2": (0.5, 0.0)})


def test_every_flow_comes_with_its_two_frames(root: Path) -> None:
    pairs = list_sintel(root, "final")

    names = [(pair.flow.parent.name, pair.first.name, pair.second.name) for pair in pairs]
    assert names == [
        ("alley_1", "frame_0001.png", "frame_0002.png"),
        ("alley_1", "frame_0002.png", "frame_0003.png"),
        ("cave_2", "frame_0001.png", "frame_0002.png"),
        ("cave_2", "frame_0002.png", "frame_0003.png"),
    ]
    assert {pair.first.parent.parent.name for pair in list_sintel(root, "clean")} == {"clean"}
    sample = pairs[1].read()
    assert (sample.pair_rgb == [draw_picture(1, 96, 72), draw_picture(2, 96, 72)]).all()
    assert (sample.flow_uv[0] == 3).all()
    assert (sample.flow_uv[1] == -2).all()
    assert sample.known.all()


def test_an_flo_file_equals_what_opencv_reads(root: Path) -> None:
    path = next((root / "training" / "flow").rglob("*.flo"))

    assert (read_flo(path) == cv2.readOpticalFlow(str(path)).transpose(2, 0, 1)).all()


def test_a_folder_without_flow_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"training/flow/<scene>/frame_0001\.flo, found none"):
        list_sintel(tmp_path, "final")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected a Middlebury .flo file"),
        (b"PIEH", "expected a Middlebury .flo file"),
        (b"NOPE\x01\0\0\0\x01\0\0\0" + bytes(8), "expected a Middlebury .flo file"),
        (b"PIEH\xff\xff\xff\xff\x01\0\0\0", "expected a Middlebury .flo file"),
        (b"PIEH\x02\0\0\0\x01\0\0\0" + bytes(8), "expected 28 bytes for 2x1, found 20"),
    ],
)
def test_a_damaged_flow_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "f.flo").write_bytes(content)

    with pytest.raises(DatasetError, match=rf"f\.flo: {message}"):
        read_flo(tmp_path / "f.flo")


def test_an_absent_damaged_or_smaller_frame_is_named(root: Path) -> None:
    pair = list_sintel(root, "clean")[0]
    cv2.imwrite(str(pair.second), np.zeros((72, 95, 3), dtype=np.uint8))
    with pytest.raises(DatasetError, match=r"expected the size of .*frame_0001\.png"):
        pair.read()
    pair.second.write_bytes(b"this is no picture")
    with pytest.raises(DatasetError, match=r"frame_0002\.png: expected a PNG picture"):
        pair.read()
    pair.second.unlink()
    with pytest.raises(DatasetError, match=r"frame_0002\.png: the frame cannot be read"):
        pair.read()
