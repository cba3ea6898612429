"""The JSON files of earlier evaluations, read back to be compared."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from tubedet.errors import DatasetError
from tubedet.evaluation.scoring import ON_ANNOTATED


@dataclass(frozen=True, slots=True)
class RunFigures:
    """What a comparison needs of one run; shares are fractions of 1.

    Attributes:
        name: of the file, without its suffix.
        setting: data, split, part, boxes and rule: only runs of one setting can be compared.
        trimmed: f-mAP on annotated frames by IoU threshold.
        all_frames: the same on all frames.
        curve: f-mAP on annotated frames at 0.05 … 0.95.
        frames_per_second: by batch size; empty where no network was run.
    """

    name: str
    setting: str
    trimmed: dict[float, float]
    all_frames: dict[float, float]
    curve: dict[float, float]
    frames_per_second: dict[int, float]


def read_run(path: Path) -> RunFigures:
    """Read what `tubedet evaluate --json` wrote; DatasetError if it is anything else."""
    try:
        figures: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        rate, batch_size = figures["frames_per_second"], figures["batch_size"]
        return RunFigures(
            name=path.stem,
            setting=f"{figures['data']}, split {figures['split']}, part {figures['part']}; "
            f"{figures['protocol'].removeprefix(ON_ANNOTATED)}",
            trimmed=_by_threshold(figures["f_map"]),
            all_frames=_by_threshold(figures["f_map_all_frames"]),
            curve=_by_threshold(figures["f_map_curve"]),
            frames_per_second={} if rate is None else {int(batch_size): float(rate)},
        )
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise DatasetError(
            f"{path}: expected a file of `tubedet evaluate --json`: {error!r}"
        ) from error


def settings_of(runs: Sequence[RunFigures]) -> list[str]:
    """The different settings, each with the runs that it is of."""
    names: dict[str, list[str]] = {}
    for run in runs:
        names.setdefault(run.setting, []).append(run.name)
    return [f"{', '.join(of_setting)}: {setting}" for setting, of_setting in names.items()]


def curve_table(runs: Sequence[RunFigures]) -> pd.DataFrame:
    """One threshold a row, one run a column, fractions of 1."""
    curves = {run.name: pd.Series(run.curve) for run in runs}
    return pd.DataFrame(curves).rename_axis("iou_threshold").reset_index()


def _by_threshold(values: dict[str, float]) -> dict[float, float]:
    return {float(threshold): float(value) for threshold, value in values.items()}
