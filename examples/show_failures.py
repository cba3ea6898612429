"""Pictures of frames of one action whose box or action is wrong, to see what goes wrong.

    python examples/show_failures.py jhmdb-21:FOLDER ACTION SHEET.png [--weights CHECKPOINT]

Each picture shows the true box, tagged "truth", and the detector's one box. Wrong frames of a clip
look alike, so the sheet holds at most --pictures, evenly spaced through all of them. It shows the
data set's footage: mind its licence before you pass it on.
"""

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tubedet.datasets.named_datasets import load_named_dataset
from tubedet.evaluation.evaluate import detect_rows
from tubedet.evaluation.frame_outcomes import frame_outcomes
from tubedet.evaluation.outcome_pictures import draw
from tubedet.pipeline import load_detector
from tubedet.render.contact_sheet import contact_sheet, write_picture


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the clips of the action, say what was found instead, write the sheet."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", help="NAME:PATH")
    parser.add_argument("action")
    parser.add_argument("sheet", type=Path)
    parser.add_argument("--part", default="validation")
    parser.add_argument("--weights", help="checkpoint file or name; the bundled one by default")
    parser.add_argument("--pictures", type=int, default=24)
    options = parser.parse_args(arguments)
    data = load_named_dataset(options.data, 1, options.part)
    clips = tuple(c for c in data.clips if data.class_names[c.class_index] == options.action)
    data = replace(data, clips=clips)
    outcomes = list(frame_outcomes(detect_rows(load_detector(options.weights), data), data))
    wrong = [outcome for outcome in outcomes if not outcome.action_right]
    misplaced = sum(not outcome.box_right for outcome in outcomes)
    print(f"{options.action}: {len(outcomes)} frames of {len(clips)} clips, {len(wrong)} wrong;")
    print(f"the box is wrong in {misplaced}; found in the wrong frames:")
    for label, count in Counter(o.found.label if o.found else "-" for o in wrong).most_common():
        print(f"{count:6} {label}")
    if wrong:
        chosen = np.linspace(0, len(wrong) - 1, min(options.pictures, len(wrong))).round()
        write_picture(options.sheet, contact_sheet([draw(wrong[int(i)]) for i in chosen], 4))


if __name__ == "__main__":
    main()
