"""Figures as pictures: precision against recall, losses of training, stages of a run, tubes."""

from collections.abc import Mapping, Sequence
from itertools import chain, zip_longest
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

from tubedet.evaluation.scoring import EvaluationResult
from tubedet.extras import needed_for
from tubedet.whole_file import written_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 5
LEGEND_LINES = 40
MARK_STYLES = ("-", "--", ":")
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
    figure = _lines(panels, "step")
    for panel in figure.axes:
        panel.legend(fontsize=8)
    _write(figure, path)


def plot_over_time(panels: Mapping[str, Mapping[str, Points]], path: Path) -> None:
    """As `plot_over_steps`, over seconds, for many lines: their labels stand beside the panels."""
    figure = _lines(panels, "seconds")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    columns = ceil(len(labels) / LEGEND_LINES)
    figure.legend(handles, labels, loc="outside right upper", fontsize=8, ncols=columns)
    _write(figure, path)


def plot_stages(
    stages: Mapping[str, Mapping[str, float]], marks: Mapping[str, Mapping[str, float]], path: Path
) -> None:
    """Draw the milliseconds of a run's stages to a PNG, a panel with a stacked bar for each run.

    Panels have scales of their own: a network may take a hundred times as long as another.

    Args:
        stages: {panel's title: {stage: ms a frame}}, the same stages everywhere.
        marks: {panel's title: {label: ms a frame}}, at most three, as lines across the bar.
        path: of the PNG.

    Raises:
        OutputError: if it can't be written.
        UsageError: if matplotlib is not installed.
    """
    figure = _figure(9, 1.5 + 1.3 * len(stages))
    panels = list(figure.subplots(len(stages), 1, squeeze=False).flat)
    for panel, (title, bars) in zip(panels, stages.items(), strict=True):
        panel.set_title(title, fontsize=10, loc="left")
        end = 0.0
        for stage, ms in bars.items():
            panel.barh(0, ms, left=end, label=stage)
            end += ms
        for (label, ms), style in zip(marks[title].items(), MARK_STYLES, strict=False):
            panel.axvline(ms, color="black", linestyle=style, label=label)
        panel.set(yticks=[], xlim=(0, 1.05 * max(end, *marks[title].values())))
    panels[-1].set_xlabel("ms a frame")  # a figure's own label would lie below the legend
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, fontsize=8)
    _write(figure, path)


def _lines(panels: Mapping[str, Mapping[str, Points]], x_label: str) -> "Figure":
    figure = _figure(9, 4 * len(panels))
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False).flat
    colors = {label: f"C{i}" for i, label in enumerate(dict.fromkeys(chain(*panels.values())))}
    for panel, (title, lines) in zip(axes, panels.items(), strict=True):
        panel.set_title(title, fontsize=10)
        for label, points in lines.items():
            x, y = zip(*points, strict=True)
            marker = "." if len(points) < 50 else None
            panel.plot(x, y, label=label, marker=marker, color=colors[label])
        panel.grid(alpha=0.3)
    figure.supxlabel(x_label)
    return figure


def _figure(width_in: float, height_in: float) -> "Figure":
    with needed_for("curves", "matplotlib"):
        # No pyplot: it keeps global state and may look for a screen.
        from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
        from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _write(figure: "Figure", path: Path) -> None:
    with written_whole(path) as pending:
        figure.savefig(pending, dpi=100, format="png")
