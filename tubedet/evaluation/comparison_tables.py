"""The paper's Tables I to IV with our runs below, as Markdown, CSV or LaTeX.

Every cell is text: a number with its decimals, a mark, or empty where nothing was measured.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from tubedet.errors import UsageError
from tubedet.evaluation.published import MARKS, PAPER, TABLE_1, TABLE_2, TABLE_3, TABLE_4
from tubedet.evaluation.results_table import write_text
from tubedet.evaluation.run_files import RunFigures, settings_of

OURS = "measured"
REAL_TIME_FPS = 25.0  # the rate of UCF101's videos
_LATEX = {"\\": r"\textbackslash{}", "†": r"$\dagger$", "⋆": r"$\star$", "ψ": r"$\psi$"}
_LATEX |= {"α": r"$\alpha$", "±": r"$\pm$", **{sign: f"\\{sign}" for sign in "_%&#$"}}


@dataclass(frozen=True, slots=True)
class ComparisonTable:
    """Columns of text and what has to be said below them."""

    title: str
    cells: pd.DataFrame
    notes: tuple[str, ...]


def table_of_flow(measured: Sequence[tuple[str, float, float]], setting: str) -> ComparisonTable:
    """Table I.

    Args:
        measured: estimator, end-point error in px, ms a frame.
        setting: what it was measured on.
    """
    rows = [(name, f"{px:.2f}", f"{ms:.0f}", PAPER) for name, px, ms in TABLE_1]
    rows += [(name, f"{px:.2f}", f"{ms:.0f}", OURS) for name, px, ms in measured]
    columns = ["method", "AEE, px", "ms a frame", "source"]
    notes = (f"{PAPER}: MPI-Sintel, training, final", f"{OURS}: {setting}")
    return ComparisonTable(
        "average end-point error (AEE)", pd.DataFrame(rows, columns=columns), notes
    )


def table_of_variants(runs: Sequence[RunFigures]) -> ComparisonTable:
    """Table II: f-mAP at three thresholds."""
    rows = [(row.model, *(f"{value:.2f}" for value in row[1:]), PAPER) for row in TABLE_2]
    rows += [
        (run.name, *(_percent(at, run.trimmed, run.deviation) for at in sorted(run.trimmed)), OURS)
        for run in runs
    ]
    columns = ["model", "α = 0.2", "α = 0.5", "α = 0.75", "source"]
    notes = (f"{PAPER}: UCF101-24, split 1, trimmed videos", *settings_of(runs))
    title = "f-mAP in % on annotated frames at IoU α"
    return ComparisonTable(title, pd.DataFrame(rows, columns=columns), notes)


def table_of_performers(runs: Sequence[RunFigures]) -> ComparisonTable:
    """Table III: f-mAP at 0.5 beside others; a run has a row for either choice of frames."""
    rows = [(row.model, row.marks, f"{row.at_50:.2f}", row.source) for row in TABLE_3]
    for run in runs:
        real_time = " ψ" if max(run.frames_per_second.values(), default=0) >= REAL_TIME_FPS else ""
        for mark, f_map, deviation in (
            ("⋆", run.trimmed, run.deviation),
            ("†", run.all_frames, run.deviation_on_all_frames),
        ):
            rows.append((run.name, mark + real_time, _percent(0.5, f_map, deviation), OURS))
    columns = ["model", "marks", "α = 0.5", "source"]
    speed = f"measured rows: ψ from {REAL_TIME_FPS:.0f} frames per second, decoding included"
    notes = ("UCF101-24, split 1, unless said otherwise", MARKS, speed, *settings_of(runs))
    return ComparisonTable("f-mAP in % at IoU α", pd.DataFrame(rows, columns=columns), notes)


def table_of_speeds(runs: Sequence[RunFigures]) -> ComparisonTable:
    """Table IV: frames per second; a run knows the rate of its own batch size."""
    rows = [(row.model, *map(_count, row[1:]), PAPER) for row in TABLE_4]
    for run in runs:
        rates = (run.frames_per_second.get(size) for size in (1, 4))
        rows.append((run.name, *map(_count, rates), OURS))
    columns = ["model", "batch size = 1", "batch size = 4", "source"]
    notes = (f"{PAPER}: GTX Titan X; measured: from decoding to boxes", *settings_of(runs))
    return ComparisonTable("frames per second", pd.DataFrame(rows, columns=columns), notes)


TABLES: dict[int, Callable[[Sequence[RunFigures]], ComparisonTable]] = {
    2: table_of_variants,
    3: table_of_performers,
    4: table_of_speeds,
}


def write_table(table: ComparisonTable, path: Path) -> None:
    """Write it in the format of the suffix: .md, .csv (without the notes) or .tex.

    Raises:
        UsageError: for another suffix.
        OutputError: if it can't be written.
    """
    formats = {".md": as_markdown, ".csv": as_csv, ".tex": as_latex}
    if path.suffix not in formats:
        raise UsageError(f"{path}: expected a table's name to end in {', '.join(formats)}")
    write_text(path, formats[path.suffix](table))


def as_markdown(table: ComparisonTable) -> str:
    """A pipe table; numbers to the right."""
    names = list(table.cells.columns)
    rule = ["---", *["---:"] * (len(names) - 2), "---"]
    rows = [names, rule, *table.cells.to_numpy().tolist()]
    lines = [f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |" for row in rows]
    notes = [f"\n{note}" for note in table.notes]
    return "\n".join([table.title, "", *lines, *notes]) + "\n"


def as_csv(table: ComparisonTable) -> str:
    """One row a line."""
    return table.cells.to_csv(index=False, lineterminator="\n")


def as_latex(table: ComparisonTable) -> str:
    """A `tabular` between its title and its notes, for \\input; no package is needed."""
    names = list(table.cells.columns)
    lines = [" & ".join(map(_escaped, row)) + r" \\" for row in table.cells.to_numpy().tolist()]
    head = " & ".join(map(_escaped, names)) + r" \\ \hline"
    columns = f"l{'r' * (len(names) - 2)}l"
    tabular = [rf"\begin{{tabular}}{{{columns}}}", head, *lines, r"\end{tabular}"]
    notes = [rf"\\ {_escaped(note)}" for note in table.notes]
    return "\n".join([rf"{_escaped(table.title)} \\", *tabular, *notes]) + "\n"


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in text)


def _percent(at: float, f_map: dict[float, float], deviation: dict[float, float]) -> str:
    spread = f" ± {100 * deviation[at]:.2f}" if deviation else ""
    return f"{100 * f_map[at]:.2f}{spread}"


def _count(rate: float | None) -> str:
    return "" if rate is None else f"{rate:.0f}"
