"""Tables II to IV and Figure 2 of what an experiment has so far."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tubedet.evaluation.comparison_tables import TABLES, ComparisonTable, write_table
from tubedet.evaluation.plots import plot_iou_curves
from tubedet.evaluation.results_table import write_text
from tubedet.evaluation.run_files import RunFigures, curve_table, mean_of, read_run
from tubedet.experiment.table_plan import ROWS, TableRun, read_json

FORMATS = ("md", "csv", "tex")


def figures_of_rows(runs: Sequence[TableRun]) -> list[RunFigures]:
    """One a row, in the paper's order: the mean over the seeds that are evaluated.

    Raises:
        DatasetError: if a file of figures is none.
    """
    found = []
    for name, published in ROWS.items():
        of_row = [run for run in runs if run.recipe.name == name and run.evaluation.exists()]
        if of_row:
            figures = mean_of([read_run(run.evaluation) for run in of_row], published)
            rates = [read_json(run.speed) for run in of_row if run.speed.exists()]
            larger = {int(rate["batch_size"]): float(rate["frames_per_second"]) for rate in rates}
            rates_of_both = {**figures.frames_per_second, **larger}
            found.append(replace(figures, frames_per_second=rates_of_both))
    return found


def write_tables(folder: Path, rows: Sequence[RunFigures]) -> dict[int, ComparisonTable]:
    """Replace the tables, each as Markdown, CSV and LaTeX, and the figure with its CSV.

    Returns:
        The tables by their number.

    Raises:
        OutputError: if a file can't be written.
    """
    tables = {number: make(rows) for number, make in TABLES.items()}
    for number, table in tables.items():
        for suffix in FORMATS:
            write_table(table, folder / f"table{number}.{suffix}")
    plot_iou_curves({row.name: sorted(row.curve.items()) for row in rows}, folder / "figure2.png")
    curves = curve_table(rows).to_csv(index=False, float_format="%.6f")
    write_text(folder / "figure2.csv", curves)
    return tables
