"""`tubedet evaluate-flow`: Table I, how wrong flow is on MPI-Sintel and how long it takes."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tubedet.cli.console import with_bar
from tubedet.cli.detect_options import Device
from tubedet.cli.evaluate_table import Output, show_comparison
from tubedet.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tubedet.datasets.sintel import SintelPair
    from tubedet.evaluation.flow_error import FlowEstimator
    from tubedet.evaluation.flow_table import MeasuredFlow


def evaluate_flow(
    *,
    data: Annotated[str, typer.Option(metavar="sintel:PATH", help="MPI-Sintel's folder.")],
    frames: Annotated[str, typer.Option(help="The rendering: clean or final.")] = "final",
    weights: Annotated[
        list[str] | None,
        typer.Option(
            help="Checkpoint file or name, whose flow network is measured; repeatable.",
            show_default="the bundled one",
        ),
    ] = None,
    output: Output = None,
    device: Device = "auto",
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error arose.")] = False,
) -> None:
    """Measure flow networks on MPI-Sintel beside OpenCV's DIS and the paper's Table I."""
    from tubedet import pipeline
    from tubedet.datasets.sintel import list_sintel
    from tubedet.evaluation.comparison_tables import table_of_flow, write_table
    from tubedet.evaluation.flow_error import dis_estimator
    from tubedet.evaluation.flow_table import PROTOCOL, torch_estimator

    name, _, path = data.partition(":")
    if name != "sintel" or not path:
        raise UsageError(f"data {data!r}: expected sintel:PATH")
    if frames not in ("clean", "final"):
        raise UsageError(f"--frames {frames}: expected clean or final")
    pairs = list_sintel(Path(path), "clean" if frames == "clean" else "final")
    estimators = {"DIS-fast (OpenCV, CPU)": dis_estimator("fast")}
    networks: list[str | None] = [*weights] if weights else [None]
    for each in networks:
        network = pipeline.load_flow_estimator(each, device=device)
        estimators[each or "bundled weights"] = torch_estimator(network)
    measured = [
        (row.estimator, row.error.mean_px, row.ms_a_pair) for row in _run(pairs, estimators)
    ]
    setting = f"MPI-Sintel, training, {frames}: {len(pairs)} pairs; {PROTOCOL}"
    table = table_of_flow(measured, setting)
    if output is not None:
        write_table(table, output)
    show_comparison(table)


def _run(
    pairs: "list[SintelPair]", estimators: "Mapping[str, FlowEstimator]"
) -> "list[MeasuredFlow]":
    """The measures, with a bar on stderr meanwhile."""
    from tubedet.datasets.sintel import sintel_samples
    from tubedet.evaluation.flow_table import measure_flow

    events = measure_flow(estimators, sintel_samples(pairs))
    *_, rows = with_bar(events, "MPI-Sintel", len(pairs) + 1)  # the rows are the last event
    assert isinstance(rows, list)
    return rows
