"""The toy example whose figures by every published rule are in the reference data."""

from collections.abc import Iterable

import pandas as pd

from tests.golden import reference_json
from tubedet.evaluation.frame_map import DETECTION_COLUMNS, TRUTH_COLUMNS

Row = tuple[object, ...]


def detections_of(rows: Iterable[Row]) -> pd.DataFrame:
    """Rows of video, frame, class, score, x1, y1, x2, y2."""
    return pd.DataFrame(list(rows), columns=DETECTION_COLUMNS)


def truth_of(rows: Iterable[Row]) -> pd.DataFrame:
    """Rows of video, frame, class, x1, y1, x2, y2."""
    return pd.DataFrame(list(rows), columns=TRUTH_COLUMNS)


def toy_tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Detections and truth; skips the calling test where the reference is absent."""
    toy = reference_json("toy_eval.json")
    truth = [(*key.split("/"), *box) for key, boxes in toy["gt"].items() for box in boxes]
    detections = [(*key.split("/"), *rest) for key, *rest in toy["det"]]
    return detections_of(detections), truth_of(truth)
