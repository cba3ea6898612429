"""What is wrong with detections: place, action, a second box, or no actor at all.

After Bolya et al., TIDE (2020), in five kinds: a detection is `right` when it takes a true box of
its class; `duplicate` when that box is taken; `classification` when it meets a true box of another
class; `localisation` when it half misses one of its own class (IoU 0.1 to 0.5); else `background`.
IoU without +1, best remaining box, whatever rule the mAP is computed by.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tubedet.datasets.row_files import FRAME_COLUMNS
from tubedet.evaluation.frame_map import (
    CLASS_COLUMNS,
    matched,
    overlapping_pairs,
)

RIGHT_IOU = 0.5
NEAR_IOU = 0.1
KINDS = ("right", "duplicate", "classification", "localisation", "background")


@dataclass(frozen=True, slots=True)
class ErrorBreakdown:
    """How many detections are of each kind, and true boxes that no right detection took."""

    detections: dict[str, int]
    missed: int
    ground_truths: int

    def to_dict(self) -> dict[str, Any]:
        """Counts, and shares: of all detections, for missed ones of all true boxes."""
        shown = max(1, sum(self.detections.values()))
        shares = {kind: count / shown for kind, count in self.detections.items()}
        return {
            "iou": RIGHT_IOU,
            "counts": {**self.detections, "missed": self.missed},
            "shares": {**shares, "missed": self.missed / max(1, self.ground_truths)},
        }


def judged(detections: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    """The detections by falling score, with `kind` and `iou` with the best true box of their class.

    Args:
        detections: rows as for `frame_map`.
        truth: as well.
    """
    detections = detections.sort_values("score", ascending=False, kind="stable", ignore_index=True)
    own = overlapping_pairs(detections, truth, CLASS_COLUMNS)
    of_own = _best_iou(own, len(detections))
    of_any = _best_iou(overlapping_pairs(detections, truth, FRAME_COLUMNS), len(detections))
    right = matched(own[own["iou"] >= RIGHT_IOU], len(detections), len(truth))
    conditions = [right, of_own >= RIGHT_IOU, of_any >= RIGHT_IOU, of_own >= NEAR_IOU]
    kinds = np.select(conditions, KINDS[:-1], default=KINDS[-1])
    return detections.assign(kind=kinds, iou=of_own)


def error_breakdown(detections: pd.DataFrame, truth: pd.DataFrame) -> ErrorBreakdown:
    """The tally of `judged`."""
    counts = judged(detections, truth)["kind"].value_counts()
    of_kind = {kind: int(counts.get(kind, 0)) for kind in KINDS}
    return ErrorBreakdown(of_kind, len(truth) - of_kind["right"], len(truth))


def _best_iou(pairs: pd.DataFrame, detections: int) -> NDArray[np.float64]:
    best = np.zeros(detections)
    first = pairs.drop_duplicates("detection")  # they come by falling IoU
    best[first["detection"]] = first["iou"]
    return best
