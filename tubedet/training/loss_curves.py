"""From the log of a run to its picture: the loss's terms, and what the validation measured."""

from typing import Any

import numpy as np

from tubedet.evaluation.plots import Points, plot_over_steps
from tubedet.training.run_folder import RunFolder

TERMS = ("total", "box", "overlap", "label", "hold", "error_px")  # each task has some of them
MOST_POINTS = 400  # of a line; every point is the mean of a stretch of steps


def draw_loss_curves(run: RunFolder, figure: str = "validation") -> None:
    """Replace loss.png by the curves of the log so far; without a logged step, do nothing.

    Args:
        run: where both lie.
        figure: what the validation measured, in words.
    """
    events = list(run.events())
    steps = [event for event in events if "total" in event]
    if not steps:
        return
    panels = {"training loss": {t: _means(steps, t) for t in TERMS if t in steps[0]}}
    validations = [event for event in events if "validation" in event]
    if validations:
        names = list(validations[0]["validation"])
        has_boxes = all(name.startswith("0.") for name in names)  # IoU thresholds
        panels[figure] = {
            f"IoU {name}" if has_boxes else name: [
                (event["step"], event["validation"][name]) for event in validations
            ]
            for name in names
        }
    run.replace(run.curves, lambda part: plot_over_steps(panels, part))


def _means(steps: list[dict[str, Any]], term: str) -> Points:
    """Mean step and mean value of up to `MOST_POINTS` stretches."""
    points = np.array([(event["step"], event[term]) for event in steps], dtype=float)
    stretches = np.array_split(points, min(MOST_POINTS, len(points)))
    return [(float(x), float(y)) for x, y in (stretch.mean(axis=0) for stretch in stretches)]
