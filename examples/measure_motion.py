"""What motion adds: f-mAP with the second frame of every pair as it is, and with others instead.

    python examples/measure_motion.py jhmdb-21:FOLDER [--part validation] [--weights CHECKPOINT]

A copy of the first frame moves nowhere. Shuffled between clips, every pair gets the second frame of
a pair of another clip, each once. Everything else is as in `tubedet evaluate`.
"""

import argparse
from collections.abc import Sequence

from tubedet.datasets.named_datasets import load_named_dataset
from tubedet.evaluation.frame_figures import IOU_THRESHOLDS
from tubedet.evaluation.motion_ablation import motion_ablation
from tubedet.pipeline import load_detector


def main(arguments: Sequence[str] | None = None) -> None:
    """Evaluate three times and print a table, in percent."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", help="NAME:PATH")
    parser.add_argument("--part", default="validation")
    parser.add_argument("--weights", help="checkpoint file or name; the bundled one by default")
    options = parser.parse_args(arguments)
    detector = load_detector(options.weights)
    data = load_named_dataset(options.data, 1, options.part)
    print(f"{data.name}, {data.part}: {len(data.clips)} clips, {data.frames} frames")
    columns = (*(f"f-mAP@{threshold}" for threshold in IOU_THRESHOLDS), "box right")
    print(f"{'second frame':20}" + "".join(f"{column:>12}" for column in columns))
    for second, result in motion_ablation(detector, data):
        figures = (*(at.mean for at in result.trimmed), result.box_right)
        print(f"{second:20}" + "".join(f"{100 * figure:12.1f}" for figure in figures), flush=True)
    print(result.to_dict()["protocol"])


if __name__ == "__main__":
    main()
