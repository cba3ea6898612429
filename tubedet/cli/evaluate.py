"""`tubedet evaluate`: f-mAP of a checkpoint, or of anybody's detections, on a data set."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tubedet.cli.console import complain, mention, report_absent, report_notes, say, with_bar
from tubedet.cli.detect_options import Compile, Latency, NoSmoothing, Runtime
from tubedet.cli.evaluation_report import show_result
from tubedet.errors import EXIT_BATCH_FAILED, UsageError

if TYPE_CHECKING:
    from tubedet.datasets.annotated_clips import AnnotatedDataset
    from tubedet.evaluation.scoring import EvaluationResult, Protocol
    from tubedet.runtime.detector import Detector


def evaluate(
    *,
    data: Annotated[str, typer.Option(metavar="NAME:PATH", help="Such as jhmdb-21:FOLDER.")],
    split: Annotated[int, typer.Option(help="Split of the data set.")] = 1,
    part: Annotated[
        str, typer.Option(help="test, validation, train, trainval; all of UCF101-24 too.")
    ] = "test",
    weights: Annotated[
        str | None,
        typer.Option(help="Checkpoint file or name.", show_default="the bundled one"),
    ] = None,
    detections: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Score rows of a .csv, .json or .jsonl instead."),
    ] = None,
    rule: Annotated[
        str, typer.Option(help="Whose convention: tubedet, gurkirt, act, yowo or voc2007.")
    ] = "tubedet",
    all_classes: Annotated[
        bool,
        typer.Option(
            "--all-classes",
            help="Beside the paper's best box of each frame, count every box under every class, as "
            "others do; of --detections all rows.",
        ),
    ] = False,
    json: Annotated[Path | None, typer.Option(help="Write all figures to this file.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the table of classes.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw precision against recall (PNG).")] = None,
    pictures: Annotated[
        int, typer.Option(min=0, help="Draw the best and worst N frames of each class.")
    ] = 0,
    pictures_folder: Annotated[
        Path, typer.Option(help="Where those pictures go, made if absent.")
    ] = Path("evaluation-pictures"),
    batch_size: Annotated[
        int, typer.Option(min=1, help="Pairs that the network sees at once.")
    ] = 1,
    link: Annotated[
        bool, typer.Option("--link", help="Link boxes into tubes first, as detect --link does.")
    ] = False,
    no_smoothing: NoSmoothing = False,
    latency: Latency = "half-second",
    flow_images: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="For the brox preset, as of detect."),
    ] = None,
    rows: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.csv",
            help="Write what is found here, clip by clip, for --resume and for --detections.",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with --rows where an evaluation was ended.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16, fp16.")] = "auto",
    runtime: Runtime = "auto",
    compile: Compile = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error arose.")] = False,
) -> None:
    """Measure how often boxes and actions of single frames are right (f-mAP).

    Rows with a tube number are measured as tubes too (video-mAP). If some clips
    cannot be run, their boxes count as missed and the exit code is 7.
    """
    from tubedet.datasets.named_datasets import load_named_dataset
    from tubedet.evaluation.plots import plot_precision_recall, require_matplotlib
    from tubedet.evaluation.results_table import write_per_class_csv, write_result_json
    from tubedet.evaluation.rules import rule_named
    from tubedet.evaluation.scoring import Protocol

    if detections is not None and weights is not None:
        raise UsageError("--detections scores a file, --weights runs a network: give one of them")
    if detections is not None and (link or flow_images or rows):
        raise UsageError(
            "--detections scores a file as it is: leave --link, --flow-images and --rows out"
        )
    if resume and rows is None:
        raise UsageError("--resume goes on with the rows of an evaluation: name them with --rows")
    if flow_images is not None:
        from tubedet.video.preprocess import require_flow_images

        require_flow_images(flow_images)
    if plot is not None:
        require_matplotlib()
    protocol = Protocol(rule_named(rule), all_classes)
    dataset = load_named_dataset(data, split, part, require_videos=detections is None)
    report_absent(dataset.missing_videos)
    report_notes(dataset.notes)
    if detections is not None:
        result = _score_file(detections, dataset, protocol)
    else:
        from tubedet.pipeline import load_detector

        detector = load_detector(
            weights,
            device=device,
            precision=precision,
            compile=compile,
            latency=latency,
            runtime=runtime,
            told=mention,
        )
        how: dict[str, Any] = {"batch_size": batch_size, "link": link, "smooth": not no_smoothing}
        how |= {"flow_images": flow_images, "rows": rows, "resume": resume}
        result = _run(detector, dataset, protocol, how)
    for write, path in (
        (write_result_json, json),
        (write_per_class_csv, csv),
        (plot_precision_recall, plot),
    ):
        if path is not None:
            write(result, path)
    show_result(result)
    if pictures:
        _draw(result, pictures, pictures_folder)
    if result.source.failed_clips:
        raise typer.Exit(EXIT_BATCH_FAILED)


def _score_file(
    path: Path, dataset: "AnnotatedDataset", protocol: "Protocol"
) -> "EvaluationResult":
    """The figures of a file of rows; no network is loaded."""
    from tubedet.datasets.row_files import read_rows
    from tubedet.evaluation.detection_rows import rows_of_data
    from tubedet.evaluation.scoring import Source, score_rows

    rows, remarks = rows_of_data(read_rows(path), dataset, path)
    for remark in remarks:
        complain(f"{path}: {remark}")
    return score_rows(rows, dataset, Source(f"rows of {path.name}"), protocol)


def _run(
    detector: "Detector",
    dataset: "AnnotatedDataset",
    protocol: "Protocol",
    how: dict[str, Any],
) -> "EvaluationResult":
    """The figures of a network, with a bar on stderr while it runs."""
    from tubedet.evaluation.evaluate import evaluate_detector
    from tubedet.evaluation.scoring import EvaluationResult

    events = evaluate_detector(detector, dataset, protocol, **how)
    total = len(dataset.clips) + 1  # the result is the last event
    *_, result = with_bar(events, f"{dataset.name}, {dataset.part}", total)
    assert isinstance(result, EvaluationResult)
    return result


def _draw(result: "EvaluationResult", number: int, folder: Path) -> None:
    from tubedet.evaluation.outcome_pictures import write_best_and_worst

    pictures = list(write_best_and_worst(result, number, folder))
    say(f"{len(pictures)} pictures of best and worst frames are in {folder}")
    if absent := [clip.video for clip in result.data.clips if not clip.path.exists()]:
        complain(f"no picture of {len(absent)} clips, whose videos are not there: {absent[0]}, …")
