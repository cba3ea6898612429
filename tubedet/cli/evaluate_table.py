"""`tubedet evaluate-table`: the paper's Tables II to IV with runs of one's own beside them."""

from pathlib import Path
from typing import Annotated

import typer

from tubedet.cli.console import say, show_table
from tubedet.cli.evaluate_curve import Runs


def evaluate_table(
    runs: Runs,
    *,
    table: Annotated[
        int,
        typer.Option(min=2, max=4, help="2: variants, 3: beside others, 4: frames per second."),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write it: .md, .csv or .tex.")
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error arose.")] = False,
) -> None:
    """Set runs beside the paper's Table II, III or IV."""
    from tubedet.evaluation.comparison_tables import TABLES, write_table
    from tubedet.evaluation.run_files import read_run

    made = TABLES[table]([read_run(path) for path in runs])
    if output is not None:
        write_table(made, output)
    say(made.title)
    show_table(list(made.cells.columns), made.cells.to_numpy().tolist())
    for note in made.notes:
        say(note)
