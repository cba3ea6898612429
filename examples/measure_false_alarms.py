"""What `--min-score` to choose: precision and recall on actors, alarms on footage without any.

    python examples/measure_false_alarms.py DATA REGIONS [VIDEO ...] [--weights CHECKPOINT]

DATA as `jhmdb-21:FOLDER`; REGIONS is what `person_ignore_regions.py` writes. Actor-free are windows
of the clips that nobody enters, seen as whole frames, still and gliding; every VIDEO, which must
show nobody; noise, titles and fades made here. A minute is 1,800 frames.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tubedet.datasets.actor_free_footage import actor_free_shots
from tubedet.datasets.ignore_regions import IgnoreRegions
from tubedet.datasets.named_datasets import load_named_dataset
from tubedet.evaluation.evaluate import detect_rows
from tubedet.evaluation.false_alarms import FRAMES_A_MINUTE, best_scores, threshold_table
from tubedet.evaluation.frame_outcomes import frame_outcomes
from tubedet.pipeline import load_detector

THRESHOLDS = [hundredths / 100 for hundredths in range(5, 100, 5)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run everything; print what footage there was, and what every threshold gives."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", help="NAME:PATH")
    parser.add_argument("regions", type=Path)
    parser.add_argument("videos", type=Path, nargs="*")
    parser.add_argument("--part", default="validation")
    parser.add_argument("--weights", help="checkpoint file or name; the bundled one by default")
    parser.add_argument("--made-frames", type=int, default=1800, help="of each kind made here")
    options = parser.parse_args(arguments)
    detector = load_detector(options.weights)
    data = load_named_dataset(options.data, 1, options.part)
    regions = IgnoreRegions.load(options.regions)

    scores: dict[str, list[NDArray[np.float64]]] = {}
    for shot in actor_free_shots(data.clips, regions, options.videos, options.made_frames):
        scores.setdefault(shot.footage, []).append(best_scores(detector, shot.frames_rgb))
    print(f"{'actor-free footage':34}{'shots':>8}{'minutes':>9}{'highest score':>15}")
    joined = {footage: np.concatenate(of_shots) for footage, of_shots in scores.items()}
    for footage, of_frames in {**joined, "all": np.concatenate([*joined.values()])}.items():
        shots, minutes = len(scores.get(footage, ())), of_frames.size / FRAMES_A_MINUTE
        print(f"{footage:34}{shots or '':>8}{minutes:9.2f}{of_frames.max():15.3f}", flush=True)

    outcomes = frame_outcomes(detect_rows(detector, data), data)
    rows = threshold_table(outcomes, of_frames, THRESHOLDS)
    print(f"\n{data.name}, {data.part}: {data.frames} frames; place and action right")
    print(f"{'min score':10}{'precision':>11}{'recall':>9}{'false alarms a minute':>24}")
    for row in rows:
        precision = "-" if row.precision is None else f"{row.precision:.3f}"
        alarms = f"{row.alarms_a_minute:.1f}"
        print(f"{row.min_score:<10.2f}{precision:>11}{row.recall:9.3f}{alarms:>24}")


if __name__ == "__main__":
    main()
