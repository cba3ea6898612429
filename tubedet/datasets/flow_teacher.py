"""Real frame pairs with flow taught by OpenCV's DIS: what moving layers cannot show.

Cloth, water, shadows, compression and motion blur move in no affine way. DIS (Kroeger et al.,
"Fast Optical Flow using Dense Inverse Search", 2016) is wrong where things are hidden or plain,
so a pixel counts only where the flow there and back cancels out.
"""

from typing import Literal

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from tubedet.datasets.flow_sample import FlowArray, FlowSample, pixel_grid

DisPreset = Literal["ultrafast", "fast", "medium"]
DIS_PRESETS: dict[DisPreset, int] = {
    "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
    "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
    "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
}
# There and back must meet within this many px, plus this share of the motion's length.
TOLERANCE_PX = 0.3
TOLERANCE_SHARE = 0.05

Image = NDArray[np.uint8]


def dis_flow(pair_rgb: Image, preset: DisPreset = "medium") -> FlowArray:
    """DIS flow (2, H, W) in px, frame 1 → 2, of a pair (2, H, W, 3) RGB."""
    first, second = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in pair_rgb)
    start = np.zeros((*first.shape, 2), dtype=np.float32)
    flow = cv2.DISOpticalFlow.create(DIS_PRESETS[preset]).calc(first, second, start)
    return np.ascontiguousarray(flow.transpose(2, 0, 1), dtype=np.float32)


class TaughtPairs:
    """Makes one sample for every index from stored pairs of consecutive frames.

    Args:
        frame_pairs: (N, 2, H, W, 3) uint8 RGB; may be a memory map.
        size: side of the square samples in px.
        seed: of the choice of pair, crop, stretch and direction.
    """

    def __init__(self, frame_pairs: Image, size: int, seed: int = 0) -> None:
        self.frame_pairs = frame_pairs
        self.size = size
        self.seed = seed

    def sample(self, index: int) -> FlowSample:
        """The sample of this index; the same whenever it is asked for."""
        rng = np.random.default_rng((self.seed, index))
        pair = self.frame_pairs[rng.integers(len(self.frame_pairs))]
        pair = _random_view(pair, self.size, rng)
        forward, backward = dis_flow(pair), dis_flow(pair[::-1])
        return FlowSample(pair, forward, consistent(forward, backward))


def _random_view(pair_rgb: Image, size: int, rng: Generator) -> Image:
    """A crop of both frames stretched to a square, mirrored or played backwards by chance."""
    height, width = pair_rgb.shape[1:3]
    crop_height, crop_width = (np.array([height, width]) * rng.uniform(0.6, 1.0, 2)).astype(int)
    top, left = rng.integers(height - crop_height + 1), rng.integers(width - crop_width + 1)
    crop = pair_rgb[:, top : top + crop_height, left : left + crop_width]
    if rng.random() < 0.5:
        crop = crop[::-1]
    if rng.random() < 0.5:
        crop = crop[:, :, ::-1]
    return np.stack([cv2.resize(frame, (size, size)) for frame in crop]).astype(np.uint8)


def consistent(forward: FlowArray, backward: FlowArray) -> NDArray[np.bool_]:
    """Where the way there and the way back cancel out: (H, W) bool.

    Args:
        forward: (2, H, W) px, frame 1 → 2.
        backward: (2, H, W) px, frame 2 → 1.
    """
    x, y = pixel_grid(forward.shape[2], forward.shape[1])
    way_back = cv2.remap(
        backward.transpose(1, 2, 0),
        x + forward[0],
        y + forward[1],
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(1e6, 1e6),  # a point that left the frame is never consistent
    ).transpose(2, 0, 1)
    gap = np.hypot(*(forward + way_back))
    within: NDArray[np.bool_] = gap < TOLERANCE_PX + TOLERANCE_SHARE * np.hypot(*forward)
    return within
