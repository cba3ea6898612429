"""`tubedet evaluate-table`: the paper's Tables II to IV with runs of one's own beside them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tubedet.cli.console import say, show_table
from tubedet.cli.evaluate_curve import Runs

if TYPE_CHECKING:
    from tubedet.evaluation.comparison_tables import ComparisonTable

Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="Write the table: .md, .csv or .tex."),
]


def evaluate_table(
    runs: Runs,
    *,
    table: Annotated[
        int,
        typer.Option(min=2, max=4, help="2: variants, 3: beside others, 4: frames per second."),
    ],
    output: Output = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error arose.")] = False,
) -> None:
    """Set runs beside the paper's Table II, III or IV."""
    from tubedet.evaluation.comparison_tables import TABLES, write_table
    from tubedet.evaluation.run_files import read_run

    made = TABLES[table]([read_run(path) for path in runs])
    if output is not None:
        write_table(made, output)
    show_comparison(made)


def show_comparison(table: "ComparisonTable") -> None:
    """The table on stdout, between its title and its notes."""
    say(table.title)
    show_table(list(table.cells.columns), table.cells.to_numpy().tolist())
    for note in table.notes:
        say(note)
