"""Table I of the paper: end-point error and time of flow estimators on MPI-Sintel.

Every estimator meets the same pairs one at a time; its first is run once more beforehand, outside
the clock, as a network's first run is slow. All pixels count, hidden ones too.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray

from tubedet.datasets.flow_sample import FlowArray, FlowSample
from tubedet.errors import DatasetError
from tubedet.evaluation.flow_error import EndPointError, ErrorTally, FlowEstimator
from tubedet.runtime.torch_flow import TorchFlow

# flownet2-pytorch crops Sintel's 1024x436 to 1024x384 in `datasets.py` (StaticCenterCrop).
PROTOCOL = (
    "mean end-point error in px over all pixels of all pairs; ms a pair, one at a time; networks "
    "see whole frames stretched to multiples of 64 px, where NVIDIA's code crops them to such"
)


@dataclass(frozen=True, slots=True)
class MeasuredFlow:
    """One estimator: its error, and its time from RGB frames to flow in ms."""

    estimator: str
    error: EndPointError
    ms_a_pair: float


def torch_estimator(flow: TorchFlow) -> FlowEstimator:
    """A running flow network as an estimator, for frames of any size."""

    def estimate(pair_rgb: NDArray[np.uint8]) -> FlowArray:
        clip = torch.from_numpy(pair_rgb.transpose(3, 0, 1, 2)[None].astype(np.float32))
        return np.asarray(flow.estimate(clip)[0].numpy(), dtype=np.float32)

    return estimate


def measure_flow(
    estimators: Mapping[str, FlowEstimator], samples: Iterable[FlowSample]
) -> Iterator[int | list[MeasuredFlow]]:
    """The number of pairs done, one by one, and at the end a row an estimator.

    Raises:
        DatasetError: without a pair.
    """
    tallies = {name: ErrorTally() for name in estimators}
    seconds = dict.fromkeys(estimators, 0.0)
    done = 0
    for done, sample in enumerate(samples, start=1):
        for name, estimate in estimators.items():
            if done == 1:
                estimate(sample.pair_rgb)
            began = perf_counter()
            flow_uv = estimate(sample.pair_rgb)
            seconds[name] += perf_counter() - began
            tallies[name].add(flow_uv, sample)
        yield done
    if not done:
        raise DatasetError("no pair to measure the end-point error on")
    yield [
        MeasuredFlow(name, tally.result(), 1000 * seconds[name] / done)
        for name, tally in tallies.items()
    ]
