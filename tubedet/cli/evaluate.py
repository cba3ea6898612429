"""`tubedet evaluate`: f-mAP of a checkpoint on a data set."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tubedet.cli.console import complain, report_absent, say, show_table

if TYPE_CHECKING:
    from tubedet.datasets.annotated_clips import AnnotatedDataset
    from tubedet.evaluation.evaluate import EvaluationResult
    from tubedet.runtime.detector import Detector


def evaluate(
    *,
    data: Annotated[str, typer.Option(metavar="NAME:PATH", help="Such as jhmdb-21:FOLDER.")],
    split: Annotated[int, typer.Option(help="Split of the data set.")] = 1,
    part: Annotated[
        str, typer.Option(help="test, validation, train, trainval; all of UCF101-24 too.")
    ] = "test",
    weights: Annotated[
        str | None, typer.Option(help="Checkpoint file or name; the bundled one by default.")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write all figures to this file.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the table of classes.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw precision against recall (PNG).")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps.")] = "auto",
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error arose.")] = False,
) -> None:
    """Measure how often boxes and actions of single frames are right (f-mAP)."""
    from tubedet.datasets.named_datasets import load_named_dataset
    from tubedet.evaluation.plots import plot_precision_recall
    from tubedet.evaluation.results_table import write_per_class_csv, write_result_json
    from tubedet.pipeline import load_detector

    detector = load_detector(weights, device=device)
    dataset = load_named_dataset(data, split, part)
    report_absent(dataset.missing_videos)
    result = _run(detector, dataset)
    for write, path in (
        (write_result_json, json),
        (write_per_class_csv, csv),
        (plot_precision_recall, plot),
    ):
        if path is not None:
            write(result, path)
    _show(result)


def _run(detector: "Detector", dataset: "AnnotatedDataset") -> "EvaluationResult":
    """The evaluation, with a bar on stderr while it runs."""
    from rich.console import Console
    from rich.progress import track

    from tubedet.evaluation.evaluate import EvaluationResult, evaluate_detector

    events = track(
        evaluate_detector(detector, dataset),
        f"{dataset.name}, {dataset.part}",
        total=len(dataset.clips) + 1,  # the result is the last event
        console=Console(stderr=True),
        transient=True,
    )
    *_, result = events
    assert isinstance(result, EvaluationResult)
    return result


def _show(result: "EvaluationResult") -> None:
    data = result.data
    say(
        f"{data.name}, split {data.split}, part {data.part}: "
        f"{len(data.clips)} of {len(data.clips) + len(data.missing_videos)} videos, "
        f"{data.frames} frames; {result.detector}"
    )
    headings = ("class", "boxes", *(f"AP@{at.iou_threshold}" for at in result.trimmed))
    show_table(headings, _rows(result))
    say(f"right boxes, of whatever class (IoU 0.5): {_percent(result.box_right)} % of the frames")
    say(result.to_dict()["protocol"])
    if result.unnameable:
        complain(f"the weights do not know {', '.join(result.unnameable)}: their AP is 0")


def _rows(result: "EvaluationResult") -> Iterator[list[str]]:
    """Per class, then the means of both protocols, in percent."""
    for index, curve in result.trimmed[0].curves.items():
        precisions = [at.curves[index].average_precision for at in result.trimmed]
        name = result.data.class_names[index]
        yield [name, str(curve.ground_truths), *map(_percent, precisions)]
    yield ["f-mAP, annotated frames", "", *(_percent(at.mean) for at in result.trimmed)]
    yield ["f-mAP, all frames", "", *(_percent(at.mean) for at in result.all_frames)]


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"
