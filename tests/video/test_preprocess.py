from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from tests.synthetic_video import draw_picture
from tubedet.errors import DatasetError
from tubedet.video.frame import VideoFrame
from tubedet.video.frame_pairs import FramePair, pair_frames
from tubedet.video.preprocess import FrameGeometry, PairInputs

Pixels = NDArray[np.uint8]


def make_pairs(pictures: list[Pixels]) -> list[FramePair]:
    frames = [
        VideoFrame(number, number, Fraction(number), rgb) for number, rgb in enumerate(pictures)
    ]
    return list(pair_frames(frames))


def stack_pairs(pairs: list[FramePair], size: int, flow_images: Path | None = None) -> Tensor:
    """The network's input."""
    inputs = PairInputs(size, flow_images)
    return torch.stack([inputs.inputs_of(pair) for pair in pairs])


def resized(rgb: Pixels, size: int) -> Pixels:
    """One picture through `stack_pairs`, as (S, S, 3) again."""
    clip = stack_pairs(make_pairs([rgb]), size)
    return clip[0, :, 0].permute(1, 2, 0).numpy()


def test_frames_of_the_right_size_arrive_untouched_in_their_slots() -> None:
    pictures = [draw_picture(number, 64, 64) for number in range(3)]
    clip = stack_pairs(make_pairs(pictures), 64)
    assert clip.shape == (3, 3, 2, 64, 64)
    assert clip.dtype == torch.uint8
    assert clip.is_contiguous()
    for sample, (first, second) in enumerate([(0, 1), (1, 2), (1, 2)]):
        np.testing.assert_array_equal(clip[sample, :, 0], pictures[first].transpose(2, 0, 1))
        np.testing.assert_array_equal(clip[sample, :, 1], pictures[second].transpose(2, 0, 1))


@pytest.mark.parametrize(("width", "height"), [(320, 240), (100, 37), (600, 480)])
def test_a_picture_is_stretched_bilinearly_up_to_a_factor_of_two(width: int, height: int) -> None:
    rgb = draw_picture(3, width, height)
    planes = torch.from_numpy(rgb).permute(2, 0, 1)[None].float()
    twin = torch.nn.functional.interpolate(planes, size=(320, 320), mode="bilinear")[0]
    got = stack_pairs(make_pairs([rgb]), 320)[0, :, 0].float()
    assert float((got - twin).abs().max()) <= 1


def test_a_large_picture_is_averaged_not_sampled() -> None:
    checkerboard = np.indices((720, 1280)).sum(axis=0) % 2 * 255
    rgb = np.repeat(checkerboard[..., None], 3, axis=2).astype(np.uint8)
    small = resized(rgb, 64)
    assert small.min() >= 120
    assert small.max() <= 135


def test_a_picture_shrunk_by_a_whole_number_is_the_mean_of_its_blocks() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    means = rgb.reshape(64, 4, 64, 4, 3).mean(axis=(1, 3))
    assert np.abs(resized(rgb, 64) - means).max() <= 1.5  # each halving rounds once


@pytest.mark.parametrize(("width", "height"), [(1921, 1081), (1280, 300)])
def test_an_odd_or_very_wide_picture_is_neither_shifted_nor_distorted(
    width: int, height: int
) -> None:
    across, down = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    small = resized(np.stack([across, down, across], axis=2).astype(np.uint8), 64)
    ramp = (np.arange(64) + 0.5) / 64 * 255  # a ramp's value in the middle of each new pixel
    assert np.abs(small[..., 0] - ramp[None, :]).max() <= 2
    assert np.abs(small[..., 1] - ramp[:, None]).max() <= 2


def test_a_frame_that_two_pairs_share_is_resized_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    resize: Any = cv2.resize

    def counted(*args: Any, **kwargs: Any) -> Any:
        calls.append(args)
        return resize(*args, **kwargs)

    pairs = make_pairs([draw_picture(number, 80, 60) for number in range(4)])
    monkeypatch.setattr(cv2, "resize", counted)
    stack_pairs(pairs, 64)
    assert len(calls) == 4


def test_boxes_return_to_source_pixels_and_stay_inside_the_frame() -> None:
    boxes = np.array([[0.25, 0.5, 0.5, 1.0], [-0.1, -0.2, 1.5, 0.25]], dtype=np.float32)
    np.testing.assert_allclose(
        FrameGeometry(320, 240).to_source_xyxy(boxes), [[80, 120, 160, 240], [0, 0, 320, 60]]
    )
    assert FrameGeometry(320, 240).to_source_xyxy(np.zeros((0, 4))).shape == (0, 4)


def write_flow_images(folder: Path, colors: list[tuple[int, int, int]]) -> None:
    """Plain flow images 00001.jpg, 00002.jpg, … of the given (u, v, length) values."""
    for number, color in enumerate(colors, start=1):
        bgr = np.full((24, 32, 3), color[::-1], np.uint8)
        _, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 100])
        (folder / f"{number:05d}.jpg").write_bytes(encoded.tobytes())


def test_a_flow_image_takes_the_second_slot_beside_the_frame_it_belongs_to(tmp_path: Path) -> None:
    colors = [(200, 100, 50), (10, 20, 30), (255, 0, 128)]
    write_flow_images(tmp_path, colors)
    pictures = [draw_picture(number, 64, 64) for number in range(3)]
    clip = stack_pairs(make_pairs(pictures), 64, tmp_path)
    assert clip.shape == (3, 3, 2, 64, 64)
    for number, color in enumerate(colors):
        np.testing.assert_array_equal(clip[number, :, 0], pictures[number].transpose(2, 0, 1))
        flow = clip[number, :, 1]
        assert float((flow - torch.tensor(color)[:, None, None]).abs().max()) <= 2


def test_the_first_missing_flow_image_is_named_with_exit_code_5(tmp_path: Path) -> None:
    write_flow_images(tmp_path, [(1, 2, 3)])
    pairs = make_pairs([draw_picture(number, 64, 64) for number in range(3)])
    with pytest.raises(
        DatasetError, match=r"00002\.jpg: expected a flow image, found nothing"
    ) as e:
        stack_pairs(pairs, 64, tmp_path)
    assert e.value.exit_code == 5


@pytest.mark.parametrize("content", [b"", b"no picture"])
def test_a_damaged_flow_image_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "00001.jpg").write_bytes(content)
    with pytest.raises(DatasetError, match=r"00001\.jpg: .* found a damaged file"):
        stack_pairs(make_pairs([draw_picture(0, 64, 64)]), 64, tmp_path)
