"""Boxes on videos of another kind than those of training: UCF101-24, with actions it never saw.

    python examples/measure_ucf_boxes.py UCF_FOLDER JHMDB_FOLDER [--weights CHECKPOINT]

Per video, the share of annotated frames whose one box has an IoU of 0.5 or more with an annotated
box, of whatever class; beside it the same of a box that never moves: the mean box of J-HMDB-21's
training part, in fractions of the frame. All videos that are there are taken, of both parts.
"""

import argparse
from collections.abc import Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from tubedet.boxes import iou_xyxy
from tubedet.datasets.annotated_clips import AnnotatedDataset
from tubedet.datasets.jhmdb_21 import load_jhmdb_21
from tubedet.datasets.ucf101_24 import load_ucf101_24
from tubedet.evaluation.detection_errors import RIGHT_IOU
from tubedet.evaluation.evaluate import detect_rows
from tubedet.evaluation.frame_outcomes import FrameOutcome, frame_outcomes
from tubedet.pipeline import load_detector


def mean_box(data: AnnotatedDataset) -> NDArray[np.float64]:
    """The mean of all boxes (4,), xyxy in fractions of the frame."""
    boxes = [(clip, box) for clip in data.clips for boxes in clip.boxes_by_frame for box in boxes]
    fractions = [np.array(box.box_xyxy) / ([clip.width, clip.height] * 2) for clip, box in boxes]
    return np.asarray(np.mean(fractions, axis=0))


def show(name: str, outcomes: Sequence[FrameOutcome], fixed: NDArray[np.float64]) -> None:
    """Print a line: the shares of frames, in percent."""
    found = np.mean([outcome.box_right for outcome in outcomes])
    sized = [(fixed * ([o.clip.width, o.clip.height] * 2), o.truth) for o in outcomes]
    overlaps = [iou_xyxy(box, np.array([true.box_xyxy for true in truth])) for box, truth in sized]
    still = np.mean([overlap.max() >= RIGHT_IOU for overlap in overlaps])
    print(f"{name:38}{len(outcomes):8}{100 * found:10.1f}{100 * still:11.1f}", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run every video and print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("ucf", help="UCF101-24: annotations and videos")
    parser.add_argument("jhmdb", help="J-HMDB-21, for the mean box")
    parser.add_argument("--weights", help="checkpoint file or name; the bundled one by default")
    options = parser.parse_args(arguments)
    fixed = mean_box(load_jhmdb_21(options.jhmdb, part="train"))
    print(f"{'video':38}{'frames':>8}{'detector':>10}{'fixed box':>11}")
    outcomes: list[FrameOutcome] = []
    data = load_ucf101_24(options.ucf, part="all")
    judged = frame_outcomes(detect_rows(load_detector(options.weights), data), data)
    for video, of_video in groupby(judged, key=lambda outcome: outcome.clip.video):
        outcomes += (latest := list(of_video))
        show(video, latest, fixed)
    show("all", outcomes, fixed)


if __name__ == "__main__":
    main()
