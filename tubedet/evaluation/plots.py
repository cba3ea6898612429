"""Curves as pictures: precision against recall of an evaluation, losses of a training run."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import zip_longest
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

from tubedet.errors import OutputError
from tubedet.evaluation.scoring import EvaluationResult
from tubedet.extras import needed_for

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 5
Points = Sequence[tuple[float, float]]  # x, y


def require_matplotlib() -> None:
    """To be asked before hours of work that end in a picture; UsageError if it is absent."""
    with needed_for("curves", "matplotlib"):
        import matplotlib.figure  # noqa: F401, PLC0415


def plot_precision_recall(result: EvaluationResult, path: Path) -> None:
    """Draw the curves on annotated frames to a PNG, one panel a class, one line an IoU threshold.

    Raises:
        OutputError: if it can't be written.
        UsageError: if matplotlib is not installed.
    """
    classes = list(result.trimmed[0].curves)
    rows = ceil(len(classes) / COLUMNS)
    figure = _figure(3 * COLUMNS, 2.8 * rows)
    panels = figure.subplots(rows, COLUMNS, sharex=True, sharey=True, squeeze=False)
    for panel, index in zip_longest(panels.flat, classes):
        if index is None:
            panel.set_visible(False)
            continue
        panel.set_title(result.data.class_names[index], fontsize=10)
        panel.set(xlim=(0, 1), ylim=(0, 1.02))
        for at in result.trimmed:
            curve = at.curves[index]
            label = f"IoU {at.iou_threshold}: AP {curve.average_precision:.2f}"
            panel.plot(curve.recall, curve.precision, label=label)
        panel.legend(fontsize=7)
    figure.supxlabel("recall")
    figure.supylabel("precision")
    _write(figure, path)


def plot_iou_curves(curves: Mapping[str, Points], path: Path) -> None:
    """Draw f-mAP in percent against the IoU threshold to a PNG (Figure 2): {run: points}.

    Raises:
        OutputError: if it can't be written.
        UsageError: if matplotlib is not installed.
    """
    figure = _figure(7, 5)
    panel = figure.subplots()
    for run, points in curves.items():
        thresholds, values = zip(*points, strict=True)
        panel.plot(thresholds, [100 * value for value in values], label=run, marker=".")
    panel.set(
        xlim=(0, 1), ylim=(0, 100), xlabel="IoU threshold α", ylabel="f-mAP on annotated frames, %"
    )
    panel.grid(alpha=0.3)
    panel.legend(fontsize=8)
    _write(figure, path)


def plot_over_steps(panels: Mapping[str, Mapping[str, Points]], path: Path) -> None:
    """Draw lines over training steps to a PNG: {panel's title: {line's label: points}}.

    Raises:
        OutputError: if it can't be written.
        UsageError: if matplotlib is not installed.
    """
    figure = _figure(9, 4 * len(panels))
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False).flat
    for panel, (title, lines) in zip(axes, panels.items(), strict=True):
        panel.set_title(title, fontsize=10)
        for label, points in lines.items():
            x, y = zip(*points, strict=True)
            panel.plot(x, y, label=label, marker="." if len(points) < 50 else None)
        panel.grid(alpha=0.3)
        panel.legend(fontsize=8)
    figure.supxlabel("step")
    _write(figure, path)


def _figure(width_in: float, height_in: float) -> "Figure":
    with needed_for("curves", "matplotlib"):
        # No pyplot: it keeps global state and may look for a screen.
        from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
        from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _write(figure: "Figure", path: Path) -> None:
    pending = path.with_name(f".{path.name}.part")
    try:
        figure.savefig(pending, dpi=100, format="png")
        pending.replace(path)
    except OSError as error:
        with suppress(OSError):
            pending.unlink(missing_ok=True)
        raise OutputError(f"{path}: cannot write the picture: {error}") from error
