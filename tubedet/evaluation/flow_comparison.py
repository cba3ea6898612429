"""Whose flow is compared, on which real pairs, and how that looks.

The measures themselves are in `flow_error`. Pairs are squares, stretched as detectors see them:
(2, S, S, 3) uint8 RGB.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from tubedet.checkpoints.native import load_checkpoint
from tubedet.checkpoints.run_state import load_flow_network
from tubedet.datasets.annotated_clips import AnnotatedDataset
from tubedet.datasets.augmentation import View
from tubedet.datasets.clip_frames import decode_clip
from tubedet.datasets.frame_pair_sampling import pair_at
from tubedet.errors import WeightsError
from tubedet.evaluation.flow_error import FlowEstimator, network_estimator
from tubedet.models.presets import DetectorConfig, build_detector
from tubedet.models.resized_flow import ResizedFlow
from tubedet.models.two_stream import TwoStreamDetector
from tubedet.render.contact_sheet import contact_sheet
from tubedet.render.flow_color import flow_to_rgb
from tubedet.video.frame_pairs import pair_frames
from tubedet.video.reader import VideoReader
from tubedet.video.time_range import FrameNumber

Image = NDArray[np.uint8]


def checkpoint_estimator(path: Path) -> FlowEstimator:
    """The flow network inside a detector's checkpoint, in float32.

    Raises:
        WeightsError: if there is no such checkpoint, or no flow network in it.
    """
    return network_estimator(_flow_of(load_checkpoint(path)[0], path))


def pretrained_estimator(path: Path, config: DetectorConfig) -> FlowEstimator:
    """What flow pre-training left, at the size it works on inside a detector of `config`.

    Raises:
        WeightsError: if the file is absent, damaged, or of another network.
    """
    network = _flow_of(build_detector(config), path)
    load_flow_network(path, network.network if isinstance(network, ResizedFlow) else network)
    return network_estimator(network.eval())


def middle_pairs(data: AnnotatedDataset, size: int) -> Iterator[Image]:
    """The middle frame of every clip and its successor."""
    for clip in data.clips:
        pair = pair_at(clip, clip.frames // 2)
        both = decode_clip(clip)[[pair.first, pair.second]]
        yield _stretched(both, size)


def video_pair(video: Path, frame: int, size: int) -> Image:
    """A frame of a video and its successor; VideoError if they can't be read."""
    with VideoReader(video) as reader:
        pair = next(pair_frames(reader.frames(FrameNumber(frame))))
    return _stretched(np.stack([pair.first.rgb, pair.second.rgb]), size)


def flow_sheet(pair_rgb: Image, estimators: Iterable[FlowEstimator]) -> Image:
    """A pair and its flows in a row, on one colour scale that almost all vectors fit.

    Returns:
        (S, W, 3) uint8 RGB.
    """
    flows = [estimate(pair_rgb) for estimate in estimators]
    longest = max(float(np.percentile(np.hypot(*flow), 99)) for flow in flows)
    coloured = [flow_to_rgb(flow, max_magnitude=longest) for flow in flows]
    return contact_sheet([*pair_rgb, *coloured], columns=2 + len(flows))


def _flow_of(network: TwoStreamDetector, path: Path) -> nn.Module:
    if network.flow is None:
        raise WeightsError(f"{path}: expected a detector with a flow network, found one without")
    return network.flow


def _stretched(frames_rgb: Image, size: int) -> Image:
    height, width = frames_rgb.shape[1:3]
    return View((0, 0, width, height)).frames(frames_rgb, size)
