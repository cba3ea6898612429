"""How wrong a flow is: against exact flow on procedural pairs, and by warping real ones.

End-point error needs the truth, so it is measured where the truth is made (`procedural_flow`).
Photometric error needs none: it asks how well the second frame, fetched along the flow, equals
the first. It also charges for occlusion and changes of light, so no flow brings it to 0.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tubedet.datasets.flow_sample import FlowArray, FlowSample
from tubedet.datasets.flow_teacher import DisPreset, dis_flow
from tubedet.models.flownet2.warping import Resample2d

# Bounds in px of the speed classes that end-point error is broken down by.
SPEED_BOUNDS_PX = (0.0, 1.0, 5.0, 10.0, 20.0)

FlowEstimator = Callable[[NDArray[np.uint8]], FlowArray]
"""A pair (2, H, W, 3) RGB → flow (2, H, W) px, frame 1 → 2."""


@dataclass(frozen=True, slots=True)
class EndPointError:
    """Mean length of the error vectors in px.

    Attributes:
        mean_px: over all known pixels of all samples.
        by_speed_px: lower bound of a speed class in px → mean over its pixels; a class without
            pixels is absent.
        pixels: how many were measured.
    """

    mean_px: float
    by_speed_px: Mapping[float, float]
    pixels: int


@dataclass(frozen=True, slots=True)
class FlowErrorRow:
    """One estimator's line in the comparison."""

    estimator: str
    end_point_error: EndPointError
    photometric_error: float


class ErrorTally:
    """End-point error over any number of samples, in flat memory."""

    def __init__(self) -> None:
        self._sums = np.zeros(len(SPEED_BOUNDS_PX))
        self._pixels = np.zeros(len(SPEED_BOUNDS_PX), dtype=np.int64)

    def add(self, flow_uv: FlowArray, sample: FlowSample) -> None:
        """Count the known pixels of one estimate."""
        gap = np.hypot(*(flow_uv - sample.flow_uv))[sample.known]
        speed = np.hypot(*sample.flow_uv)[sample.known]
        classes = np.digitize(speed, SPEED_BOUNDS_PX) - 1
        self._sums += np.bincount(classes, gap, len(SPEED_BOUNDS_PX))
        self._pixels += np.bincount(classes, minlength=len(SPEED_BOUNDS_PX))

    def result(self) -> EndPointError:
        """The means; ValueError if no pixel was known."""
        pixels = int(self._pixels.sum())
        if not pixels:
            raise ValueError("no pixel with known flow to measure the end-point error at")
        of_class = zip(SPEED_BOUNDS_PX, self._sums, self._pixels, strict=True)
        by_speed = {bound: float(total / count) for bound, total, count in of_class if count}
        return EndPointError(float(self._sums.sum() / pixels), by_speed, pixels)


def zero_flow(pair_rgb: NDArray[np.uint8]) -> FlowArray:
    """Nothing moves: what any estimator must beat."""
    return np.zeros((2, *pair_rgb.shape[1:3]), dtype=np.float32)


def dis_estimator(preset: DisPreset = "fast") -> FlowEstimator:
    """OpenCV's DIS at the size of the pair."""
    return lambda pair_rgb: dis_flow(pair_rgb, preset)


def network_estimator(network: nn.Module) -> FlowEstimator:
    """A flow network, clip (1, 3, 2, H, W) RGB 0..255 → flow (1, 2, H, W), as and where it is."""
    device = next((each.device for each in network.parameters()), torch.device("cpu"))

    def estimate(pair_rgb: NDArray[np.uint8]) -> FlowArray:
        clip = torch.from_numpy(pair_rgb.transpose(3, 0, 1, 2)[None].astype(np.float32))
        with torch.inference_mode():
            flow: FlowArray = network(clip.to(device))[0].float().cpu().numpy()
        return flow

    return estimate


def end_point_error(estimate: FlowEstimator, samples: Iterable[FlowSample]) -> EndPointError:
    """Measure an estimator against known flow.

    Raises:
        ValueError: if there is no known pixel to measure at.
    """
    tally = ErrorTally()
    for sample in samples:
        tally.add(estimate(sample.pair_rgb), sample)
    return tally.result()


def photometric_error(estimate: FlowEstimator, pairs_rgb: Iterable[NDArray[np.uint8]]) -> float:
    """Mean absolute difference, in levels of 255, of frame 1 and frame 2 fetched along the flow.

    Args:
        estimate: the flow to judge.
        pairs_rgb: (2, H, W, 3) each. A pixel that leaves the frame meets the nearest border pixel.

    Raises:
        ValueError: if there is no pair.
    """
    warp = Resample2d()
    errors = []
    for pair_rgb in pairs_rgb:
        first, second = torch.from_numpy(pair_rgb.transpose(0, 3, 1, 2).astype(np.float32))
        fetched = warp(second[None], torch.from_numpy(estimate(pair_rgb))[None])[0]
        errors.append(float((fetched - first).abs().mean()))
    if not errors:
        raise ValueError("no pair to measure the photometric error on")
    return float(np.mean(errors))


def compare_flow(
    estimators: Mapping[str, FlowEstimator],
    samples: Iterable[FlowSample],
    real_pairs_rgb: Iterable[NDArray[np.uint8]],
) -> list[FlowErrorRow]:
    """Both errors of every estimator on the same samples and the same real pairs."""
    samples, real_pairs_rgb = list(samples), list(real_pairs_rgb)
    return [
        FlowErrorRow(
            name,
            end_point_error(estimate, samples),
            photometric_error(estimate, real_pairs_rgb),
        )
        for name, estimate in estimators.items()
    ]
