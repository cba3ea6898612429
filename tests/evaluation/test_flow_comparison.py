from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from tests.drawn_jhmdb import draw_jhmdb, save_small_checkpoint
from tests.small_detector import seeded_clip, small_config, small_network
from tests.synthetic_video import draw_picture, write_video
from tubedet.datasets.jhmdb_21 import load_jhmdb_21
from tubedet.errors import WeightsError
from tubedet.evaluation.flow_comparison import (
    checkpoint_estimator,
    flow_sheet,
    middle_pairs,
    pretrained_estimator,
    video_pair,
)


def seeded_pair() -> NDArray[np.uint8]:
    """(2, 64, 64, 3)."""
    return np.asarray(seeded_clip(64)[0].permute(1, 2, 3, 0).to(torch.uint8).numpy())


def moving(u: float, v: float) -> NDArray[np.float32]:
    flow = np.empty((2, 8, 8), dtype=np.float32)
    flow[0], flow[1] = u, v
    return flow


@pytest.mark.parametrize("preset", ["light", "flownet2-sd"])
def test_flow_is_that_of_the_network_in_the_checkpoint(tmp_path: Path, preset: str) -> None:
    pair = seeded_pair()
    network = small_network(small_config(preset)).flow
    assert network is not None
    clip = torch.from_numpy(pair).permute(3, 0, 1, 2)[None].float()
    with torch.inference_mode():
        expected = network(clip)[0].numpy()

    flow = checkpoint_estimator(save_small_checkpoint(tmp_path / "w.safetensors", preset))(pair)

    assert flow.shape == (2, 64, 64)
    assert flow == pytest.approx(expected, abs=1e-5)


def test_pretrained_flow_runs_as_it_would_inside_the_detector(tmp_path: Path) -> None:
    config = small_config("light", input_size=128)
    flow = small_network(config).flow
    assert flow is not None
    inner = flow.get_submodule("network")
    save_file(
        {name: value.contiguous() for name, value in inner.state_dict().items()},
        tmp_path / "flow.safetensors",
    )
    pair = seeded_pair().repeat(2, axis=1).repeat(2, axis=2)
    clip = torch.from_numpy(pair).permute(3, 0, 1, 2)[None].float()
    with torch.inference_mode():
        expected = flow(clip)[0].numpy()

    estimate = pretrained_estimator(tmp_path / "flow.safetensors", config)

    assert estimate(pair) == pytest.approx(expected, abs=1e-5)


def test_a_detector_without_a_flow_network_is_refused(tmp_path: Path) -> None:
    path = save_small_checkpoint(tmp_path / "brox.safetensors", "brox")

    with pytest.raises(WeightsError, match=r"brox\.safetensors: expected a detector with a flow"):
        checkpoint_estimator(path)


def test_a_pair_of_every_clip_is_its_middle_frame_and_the_next(tmp_path: Path) -> None:
    data = load_jhmdb_21(draw_jhmdb(tmp_path, {"walk": ["a", "b"]}, height=64), part="test")

    pairs = list(middle_pairs(data, 64))

    assert len(pairs) == 2
    expected = np.stack([draw_picture(frame, 64, 64) for frame in (2, 3)]).astype(int)
    assert np.abs(pairs[1] - expected).mean() < 6  # but for halved colour resolution


def test_a_pair_of_a_video_begins_at_the_frame_asked_for(tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.avi", frames=4, width=64, height=64, codec="ffv1")

    for frame, shown in ((1, (1, 2)), (3, (3, 3))):
        expected = np.stack([draw_picture(number, 64, 64) for number in shown]).astype(int)
        assert np.abs(video_pair(video, frame, 64) - expected).mean() < 6


def test_flows_are_drawn_beside_their_pair_on_one_scale() -> None:
    pair = np.full((2, 8, 8, 3), 50, dtype=np.uint8)

    sheet = flow_sheet(pair, [lambda _: moving(4, 0), lambda _: moving(2, 0)])

    assert sheet.shape == (8, 4 * 8 + 3 * 4, 3)
    assert (sheet[:, 12:20] == 50).all()
    assert sheet[4, 28].tolist() == [255, 0, 0]  # to the right: red
    assert sheet[4, 40].tolist() == [255, 128, 128]  # half as fast: half as red
