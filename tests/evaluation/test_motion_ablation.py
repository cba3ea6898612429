from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from tests.drawn_jhmdb import draw_jhmdb
from tests.scripted_detector import ScriptedDetector
from tests.small_detector import seeded_clip, small_config, small_network
from tubedet.datasets.annotated_clips import AnnotatedClip, AnnotatedDataset
from tubedet.datasets.clip_frames import ClipFrames
from tubedet.datasets.jhmdb_21 import load_jhmdb_21
from tubedet.errors import DatasetError
from tubedet.evaluation.motion_ablation import (
    OtherSecondFrame,
    motion_ablation,
    second_frames_of_other_clips,
)
from tubedet.runtime.detector import PairPrediction, PairTask, StreamState
from tubedet.runtime.torch_light import TorchLightDetector


class Recorder(ScriptedDetector):
    """Keeps every clip that it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[Tensor] = []

    def predict(
        self, clip: Tensor, tasks: Sequence[PairTask], state: StreamState | None = None
    ) -> tuple[list[PairPrediction], StreamState | None]:
        self.shown.append(clip[0])
        return super().predict(clip, tasks, state)


class NumberedFrames(ClipFrames):
    """Every frame is a plane of its own brightness: 10 x the clip's class and the frame number."""

    def of(self, clip: AnnotatedClip) -> NDArray[np.uint8]:
        numbers = 10 * clip.class_index + np.arange(clip.frames, dtype=np.uint8)
        return np.broadcast_to(numbers[:, None, None, None], (clip.frames, 6, 8, 3))


def bare_data(*lengths: int) -> AnnotatedDataset:
    clips = [
        AnnotatedClip(str(k), Path(str(k)), k, str(k), 8, 6, ((),) * frames)
        for k, frames in enumerate(lengths)
    ]
    return AnnotatedDataset("d", 1, "test", ("a", "b", "c"), tuple(clips))


def test_second_frames_come_from_other_clips_and_each_pair_gives_its_own_once() -> None:
    data = bare_data(3, 1, 2)

    second = list(second_frames_of_other_clips(data, NumberedFrames(), 4))

    assert {tuple(frame.shape) for frame in second} == {(1, 3, 4, 4)}
    numbers = [int(frame[0, 0, 0, 0]) for frame in second]
    # Frames 0, 1, 2 of the first clip have 1, 2 and, as its last one, 2 for their second frame.
    assert sorted(numbers) == [1, 2, 2, 10, 21, 21]
    owner = [0, 0, 0, 1, 2, 2]
    assert all(number // 10 != own for number, own in zip(numbers, owner, strict=True))


def test_a_clip_that_holds_more_than_half_of_all_frames_is_named() -> None:
    with pytest.raises(DatasetError, match="1: holds more than half of all frames"):
        list(second_frames_of_other_clips(bare_data(1, 3), NumberedFrames(), 4))


def test_a_clip_of_another_length_than_annotated_is_named(tmp_path: Path) -> None:
    data = load_jhmdb_21(draw_jhmdb(tmp_path, {"walk": ["a", "b"]}), part="test")
    short = replace(data.clips[1], boxes_by_frame=data.clips[1].boxes_by_frame[:3])

    with pytest.raises(DatasetError, match="expected as many frames as annotated, found 4"):
        list(motion_ablation(ScriptedDetector(), replace(data, clips=(data.clips[0], short))))


def test_the_first_frames_stay_and_the_second_are_kept_copied_and_swapped(tmp_path: Path) -> None:
    draw_jhmdb(tmp_path, {"walk": ["a"]}, frames=3)
    draw_jhmdb(tmp_path, {"run": ["b"]}, frames=3, width=96)
    detector = Recorder()

    results = dict(motion_ablation(detector, load_jhmdb_21(tmp_path, part="test")))

    assert list(results) == ["as it is", "copy of the first", "of another clip"]
    seen, copied, swapped = (torch.stack(detector.shown[k : k + 6], dim=2) for k in (0, 6, 12))
    assert seen.shape == (3, 2, 6, 64, 64)
    for other in (copied, swapped):
        assert torch.equal(seen[:, 0], other[:, 0])
    assert torch.equal(copied[:, 1], copied[:, 0])
    # Of two clips of one length each gets the other's second frames, in their order.
    assert torch.equal(swapped[:, 1], seen[:, 1].roll(3, dims=1))


def test_a_detector_of_first_frames_loses_nothing(tmp_path: Path) -> None:
    data = load_jhmdb_21(draw_jhmdb(tmp_path, {"walk": ["a", "b"]}), part="test")
    looks_at_first = ScriptedDetector()

    results = dict(motion_ablation(looks_at_first, data))

    assert len({result.box_right for result in results.values()}) == 1


def test_a_video_backbone_is_given_the_true_frames_with_whatever_flow() -> None:
    """Of `light`: its steps as they are, its flow that of a picture that stands still."""
    config = replace(small_config("light"), flow_size=64)
    detector = TorchLightDetector(small_network(config), config, device="cpu", precision="fp32")
    still = OtherSecondFrame(detector, lambda clip: clip[:, :, 0])
    frames = seeded_clip(64, batch=7)[:, :, 0]
    pairs = torch.stack([frames[:-1], frames[1:]], dim=2)
    tasks = [PairTask(True, n % 2 == 0, n % 2 == 1) for n in range(6)]
    found, state = still.predict(pairs[:4], tasks[:4])
    more, _ = still.predict(pairs[4:], tasks[4:], state)

    with torch.inference_mode():
        network = small_network(config)
        steps, _ = network.steps(frames[::2][None])
        seconds = torch.full((6,), 1 / 30)
        motion = network.motion(torch.stack([frames[:-1]] * 2, dim=2), seconds)
        latest = [(n + 1) // 2 for n in range(6)]
        raws = network.fusion(steps.last[0, latest], motion.last)
    for n, each in enumerate([*found, *more]):
        torch.testing.assert_close(each.raw, raws[n], atol=1e-4, rtol=1e-4)
        assert (each.step is not None) == (n % 2 == 0)
        if each.step is not None:
            expected = (steps.logits[0, n // 2], motion.maps[n])
            torch.testing.assert_close(tuple(each.step), expected, atol=1e-4, rtol=1e-4)
