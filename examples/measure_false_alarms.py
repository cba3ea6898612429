"""What `--min-score` to choose: precision and recall on actors, alarms on footage without any.

    python examples/measure_false_alarms.py DATA REGIONS [VIDEO ...] [--weights CHECKPOINT]

DATA as `jhmdb-21:FOLDER`; REGIONS is what `person_ignore_regions.py` writes. Actor-free are windows
of the clips that nobody enters, seen as whole frames, still and gliding; every VIDEO, which must
show nobody; noise, titles and fades made here. A minute is 1,800 frames.
"""

import argparse
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tubedet.datasets.actor_free_footage import MADE_FOOTAGE, actor_free_shots
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
    joined = {footage: np.concatenate(of_shots) for footage, of_shots in scores.items()}
    real = [of for footage, of in joined.items() if footage not in MADE_FOOTAGE]
    joined |= {"all that is real": np.concatenate(real)} if real else {}
    of_frames = joined["all"] = np.concatenate([*chain(*scores.values())])
    print("false alarms a minute, by min score")
    thresholds = "".join(f"{threshold:7.2f}" for threshold in THRESHOLDS[5:16])
    print(f"{'actor-free footage':30}{'shots':>6}{'minutes':>9}{'highest':>9}{thresholds}")
    for footage, of_kind in joined.items():
        shots, minutes = len(scores.get(footage, ())), of_kind.size / FRAMES_A_MINUTE
        of_thresholds = (FRAMES_A_MINUTE * (of_kind >= at).mean() for at in THRESHOLDS[5:16])
        begin = f"{footage[:29]:30}{shots or '':>6}{minutes:9.2f}{of_kind.max():9.3f}"
        print(begin + "".join(f"{alarms:7.1f}" for alarms in of_thresholds), flush=True)

    outcomes = frame_outcomes(detect_rows(detector, data), data)
    rows = threshold_table(outcomes, of_frames, THRESHOLDS)
    print(f"\n{data.name}, {data.part}: {data.frames} frames; place and action right")
    titles = ("min score", "box right", "precision", "recall", "alarms/min")
    print("".join(f"{title:>11}" for title in titles))
    for row in rows:
        precision = "-" if row.precision is None else f"{row.precision:.3f}"
        a_minute = f"{row.alarms_a_minute:.1f}"
        figures = (f"{row.box_right:.3f}", precision, f"{row.recall:.3f}", a_minute)
        print(f"{row.min_score:11.2f}" + "".join(f"{figure:>11}" for figure in figures))


if __name__ == "__main__":
    main()
