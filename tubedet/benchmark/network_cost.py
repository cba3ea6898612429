"""How much a network computes for a frame: counted, so the same on every machine."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch.utils.flop_counter import FlopCounterMode

from tubedet.models.light.detector import LightDetector
from tubedet.models.presets import DetectorConfig, build_detector

STEPS_A_FRAME = 1 / 2  # backbone steps of `light` at 30 frames a second

Result = TypeVar("Result")


def gflop_a_frame(config: DetectorConfig) -> float:
    """GFLOP of a network at batch 1, a multiplication and its addition counted as two.

    Of the network as it is built, without numbers: nothing is computed. Of `light` the mean of a
    video of 30 frames a second, whose backbone is given every second frame.
    """
    side = config.input_size
    with torch.device("meta"):
        network = build_detector(config).eval()
        clip = torch.empty(1, 3, 2, side, side)
        if isinstance(network, LightDetector):
            return _of_light(network, clip)
        return counted(lambda: network(clip))[1]


def counted(run: Callable[[], Result]) -> tuple[Result, float]:
    """What it returns, and the GFLOP of its convolutions and matrix products."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        result = run()
    return result, counter.get_total_flops() / 1e9


def _of_light(network: LightDetector, clip: torch.Tensor) -> float:
    # Two frames at once, whose convolutions over time are counted: of one they are but sums.
    frames, seconds = clip.transpose(1, 2), torch.empty(len(clip))
    (steps, _), of_two = counted(lambda: network.steps(frames))
    motion, of_motion = counted(lambda: network.motion(clip, seconds))
    _, of_fusion = counted(lambda: network.fusion(steps.last[:, 0], motion.last))
    return STEPS_A_FRAME * of_two / 2 + of_motion + of_fusion
