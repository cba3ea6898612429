"""The JSON files of earlier evaluations, read back to be compared."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, TypeVar

import pandas as pd

from tubedet.errors import DatasetError
from tubedet.evaluation.frame_figures import ON_ANNOTATED

Key = TypeVar("Key", int, float)


@dataclass(frozen=True, slots=True)
class RunFigures:
    """What a comparison needs of one run; shares are fractions of 1.

    Attributes:
        name: of the file, without its suffix.
        setting: data, split, part, boxes, rule, device and precision, and whether the network was
            compiled: only figures of one setting can be compared.
        trimmed: f-mAP on annotated frames by IoU threshold.
        all_frames: the same on all frames.
        curve: f-mAP on annotated frames at 0.05 … 0.95.
        frames_per_second: by batch size; empty where no network was run.
        deviation: sample standard deviation of `trimmed`; empty of a single run.
        deviation_on_all_frames: the same of `all_frames`.
    """

    name: str
    setting: str
    trimmed: dict[float, float]
    all_frames: dict[float, float]
    curve: dict[float, float]
    frames_per_second: dict[int, float]
    deviation: dict[float, float] = field(default_factory=dict)
    deviation_on_all_frames: dict[float, float] = field(default_factory=dict)


def read_run(path: Path) -> RunFigures:
    """Read what `tubedet evaluate --json` wrote; DatasetError if it is anything else."""
    try:
        figures: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        rate, batch_size = figures["frames_per_second"], figures["batch_size"]
        return RunFigures(
            name=path.stem,
            setting=f"{figures['data']}, split {figures['split']}, part {figures['part']}"
            f"{_absent(figures)}; {figures['protocol'].removeprefix(ON_ANNOTATED)}"
            f"{_measured_on(figures)}",
            trimmed=_by_threshold(figures["f_map"]),
            all_frames=_by_threshold(figures["f_map_all_frames"]),
            curve=_by_threshold(figures["f_map_curve"]),
            frames_per_second={} if rate is None else {int(batch_size): float(rate)},
        )
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise DatasetError(
            f"{path}: expected a file of `tubedet evaluate --json`: {error!r}"
        ) from error


def _absent(figures: dict[str, Any]) -> str:
    """How much of the part was there, if not all of it."""
    there, absent = figures["videos"], len(figures["missing_videos"])
    return f" ({there} of {there + absent} videos)" if absent else ""


def mean_of(runs: Sequence[RunFigures], name: str) -> RunFigures:
    """Runs that differ in their seed alone, as one."""
    settings = " and ".join(dict.fromkeys(run.setting for run in runs))
    seeds = f"; mean ± sample standard deviation of {len(runs)} seeds" if len(runs) > 1 else ""
    rates = [run.frames_per_second for run in runs]
    return RunFigures(
        name=name,
        setting=settings + seeds,
        trimmed=_over_runs(fmean, [run.trimmed for run in runs]),
        all_frames=_over_runs(fmean, [run.all_frames for run in runs]),
        curve=_over_runs(fmean, [run.curve for run in runs]),
        frames_per_second=_over_runs(fmean, [rate for rate in rates if rate]) if any(rates) else {},
        deviation=_over_runs(stdev, [run.trimmed for run in runs]) if seeds else {},
        deviation_on_all_frames=_over_runs(stdev, [run.all_frames for run in runs])
        if seeds
        else {},
    )


def _over_runs(
    take: Callable[[list[float]], float], figures: Sequence[dict[Key, float]]
) -> dict[Key, float]:
    return {key: take([each[key] for each in figures]) for key in figures[0]}


def _measured_on(figures: dict[str, Any]) -> str:
    """Device and precision; nothing of rows from a file, and of files that do not say."""
    if not figures.get("device"):
        return ""
    compiled = ", compiled" if ", compiled" in figures["detector"] else ""
    return f"; on {figures['device']} in {figures['precision']}{compiled}"


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
