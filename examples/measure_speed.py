"""Frames a second of a detector, beside what this machine's convolutions can do at their best.

    python examples/measure_speed.py VIDEO [--weights CHECKPOINT]

Every figure is the median of five rounds; a round measures all of them, one after the other, so
that what else the machine does meets them alike. The network runs on one pair of frames at a time,
as `load_detector` gives it; the pipeline decodes, pairs and stretches the frames of VIDEO besides.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from tubedet.benchmark.machine import convolution_peak, processor_name
from tubedet.pipeline import detect_video, load_detector

ROUNDS, PREDICTIONS = 5, 20


def per_second(work: Callable[[], int]) -> float:
    """How much of what it counts the work does in a second, once through."""
    started = time.perf_counter()
    return work() / (time.perf_counter() - started)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("video", type=Path)
    parser.add_argument("--weights", help="checkpoint file or name; the bundled one by default")
    options = parser.parse_args(arguments)
    detector = load_detector(options.weights)
    clip = 255 * torch.rand(1, 3, 2, detector.input_size, detector.input_size)

    def network() -> int:
        return len([detector.predict(clip) for _ in range(PREDICTIONS)])

    def pipeline() -> int:
        return len(list(detect_video(options.video, detector)))

    measures: dict[str, Callable[[], float]] = {
        "convolution peak, fp32, GFLOP/s": lambda: convolution_peak(torch.float32),
        "convolution peak, bf16, GFLOP/s": lambda: convolution_peak(torch.bfloat16),
        "network, batch 1, frames/s": lambda: per_second(network),
        "pipeline, batch 1, frames/s": lambda: per_second(pipeline),
    }
    frames = pipeline()  # the first run of a network is slower: it is not counted
    rounds = [[measure() for measure in measures.values()] for _ in range(ROUNDS)]
    print(f"{processor_name()}, {torch.get_num_threads()} threads, PyTorch {torch.__version__}")
    print(f"{detector.description} at {detector.input_size} px; {frames} frames of {options.video}")
    for name, figures in zip(measures, zip(*rounds, strict=True), strict=True):
        print(f"{name:34}{statistics.median(figures):8.1f}")


if __name__ == "__main__":
    main()
