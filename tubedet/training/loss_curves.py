"""From the log of a run to its picture: the loss's terms, and f-mAP on the validation part."""

from typing import Any

import numpy as np

from tubedet.evaluation.plots import Points, plot_over_steps
from tubedet.training.run_folder import RunFolder

TERMS = ("total", "box", "overlap", "label")
MOST_POINTS = 400  # of a line; every point is the mean of a stretch of steps


def draw_loss_curves(run: RunFolder) -> None:
    """Replace loss.png by the curves of the log so far; without a logged step, do nothing."""
    events = list(run.events())
    steps = [event for event in events if "total" in event]
    if not steps:
        return
    panels = {"training loss": {term: _means(steps, term) for term in TERMS}}
    validations = [event for event in events if "validation" in event]
    if validations:
        panels["f-mAP on the validation part"] = {
            f"IoU {threshold}": [(e["step"], e["validation"][threshold]) for e in validations]
            for threshold in validations[0]["validation"]
        }
    run.replace(run.curves, lambda part: plot_over_steps(panels, part))


def _means(steps: list[dict[str, Any]], term: str) -> Points:
    """Mean step and mean value of up to `MOST_POINTS` stretches."""
    points = np.array([(event["step"], event[term]) for event in steps], dtype=float)
    stretches = np.array_split(points, min(MOST_POINTS, len(points)))
    return [(float(x), float(y)) for x, y in (stretch.mean(axis=0) for stretch in stretches)]
