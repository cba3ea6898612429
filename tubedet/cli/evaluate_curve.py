"""`tubedet evaluate-curve`: Figure 2, f-mAP of several runs against the IoU threshold."""

from pathlib import Path
from typing import Annotated

import typer

from tubedet.cli.console import say
from tubedet.errors import UsageError

Runs = Annotated[
    list[Path], typer.Argument(metavar="RUN.json...", help="Files of `tubedet evaluate --json`.")
]


def evaluate_curve(
    runs: Runs,
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The picture (PNG); a CSV appears beside it.")
    ],
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error arose.")] = False,
) -> None:
    """Draw f-mAP against the IoU threshold, one line a run (Figure 2)."""
    from tubedet.evaluation.plots import plot_iou_curves
    from tubedet.evaluation.results_table import write_text
    from tubedet.evaluation.run_files import curve_table, read_run, settings_of

    if output.suffix != ".png":
        raise UsageError(f"{output}: expected a name that ends in .png")
    figures = [read_run(path) for path in runs]
    plot_iou_curves({run.name: sorted(run.curve.items()) for run in figures}, output)
    table = output.with_suffix(".csv")
    write_text(table, curve_table(figures).to_csv(index=False, float_format="%.6f"))
    for line in (str(output), str(table), *settings_of(figures)):
        say(line)
