"""The answers of every runtime and precision beside those of PyTorch in float32, frame by frame.

    python examples/compare_runtimes.py VIDEO... [--frames 1000] [--weights CHECKPOINT]

All frames of the videos go through the network in sequence. The table says how far raw predictions
are from those of PyTorch in float32 at most, and what share of frames has the same box after the
choice of boxes (one a frame, smoothed and linked, as `tubedet detect` shows it): with sides within
1 and 2 px, and a score within 0.01 and 0.03.
"""

import argparse
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

import numpy as np
from torch import Tensor

from tubedet.detections import Detection, FrameDetections
from tubedet.errors import UsageError
from tubedet.pipeline import detect_video, load_detector
from tubedet.run.detection import DetectionWork
from tubedet.run.plan import RunPlan
from tubedet.runtime.detector import Detector
from tubedet.video.reader import VideoReader

WAYS = (("torch", "fp32"), ("torch", "bf16"), ("onnx", "fp32"))  # the first is compared with
BOUNDS = ((1.0, 0.01), (2.0, 0.03))  # pixels, score


def raw_outputs(detector: Detector, video: Path) -> Iterator[Tensor]:
    """What the network says of every frame of a video, before boxes are made of it."""
    work = DetectionWork(detector, RunPlan())
    with VideoReader(video) as reader:
        reach = work.reach(reader.info)
        given = work.given(reader.frames(), reach)
        for each in work.predicted(given, reach, with_pictures=False):
            assert each.prediction.raw is not None
            yield each.prediction.raw


def is_same(one: FrameDetections, other: FrameDetections, pixels: float, score: float) -> bool:
    """Whether two runs show the same boxes of the same actions in a frame."""
    pairs = list(zip(one.detections, other.detections, strict=False))
    return len(one.detections) == len(other.detections) and all(
        a.label == b.label and _sides_apart(a, b) <= pixels and abs(a.score - b.score) <= score
        for a, b in pairs
    )


def _sides_apart(one: Detection, other: Detection) -> float:
    return float(np.abs(np.subtract(one.box_xyxy, other.box_xyxy)).max())


def compare(videos: Sequence[Path], frames: int, weights: Path | None) -> None:
    """Print the table."""
    raws: list[Tensor] = []
    boxes: list[FrameDetections] = []
    for runtime, precision in WAYS:
        try:
            detector = load_detector(weights, device="cpu", precision=precision, runtime=runtime)
        except UsageError as error:
            print(f"{runtime} {precision}: left out: {error}")
            continue
        of_all = chain.from_iterable(raw_outputs(detector, video) for video in videos)
        raw = list(islice(of_all, frames))
        found = list(islice(chain.from_iterable(detect_video(v, detector) for v in videos), frames))
        if not raws:
            raws, boxes = raw, found
        apart = np.array([float((a - b).abs().max()) for a, b in zip(raws, raw, strict=True)])
        same = [
            np.mean([is_same(a, b, *bounds) for a, b in zip(boxes, found, strict=True)])
            for bounds in BOUNDS
        ]
        print(
            f"{runtime} {precision}: {len(raw)} frames, raw at most {apart.max():.2g} apart "
            f"(median frame {np.median(apart):.2g}); same box within "
            + ", ".join(
                f"{pixels:.0f} px and {score}: {100 * share:.2f} %"
                for (pixels, score), share in zip(BOUNDS, same, strict=True)
            )
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("videos", nargs="+", type=Path)
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--weights", type=Path)
    arguments = parser.parse_args()
    compare(arguments.videos, arguments.frames, arguments.weights)
