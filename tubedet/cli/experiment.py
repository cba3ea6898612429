"""`tubedet experiment`: the paper's tables from start weights to numbers, in one command."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Option

from tubedet.cli import train_options as options
from tubedet.cli.console import (
    TrainingView,
    complain,
    explain,
    report_absent,
    report_notes,
    say,
    show_traceback,
)
from tubedet.cli.evaluate_table import show_comparison
from tubedet.errors import EXIT_BATCH_FAILED

if TYPE_CHECKING:
    from tubedet.experiment.table_plan import Experiment, TablePlan
    from tubedet.experiment.table_run import TableData, TableEvent

experiment_app = typer.Typer(
    no_args_is_help=True, help="The paper's experiments, from start weights to tables."
)


@experiment_app.callback()
def _experiment() -> None:
    pass


def table2(
    *,
    data: options.Data,
    output: Annotated[
        Path, Option("--output", "-o", metavar="DIR", help="Folder of all runs and tables.")
    ],
    init: Annotated[
        list[Path] | None,
        Option(
            metavar="FILE",
            help="Weights as tubedet weights import makes them, or of kinetics-pretraining; "
            "repeatable: each row takes those that fit it.",
        ),
    ] = None,
    kinetics: Annotated[
        str | None,
        Option(metavar="kinetics:PATH", help="Pre-train on it, for the rows that need that."),
    ] = None,
    rows: Annotated[
        str | None,
        Option(
            metavar="NAME,...",
            help="Rows by the names of their recipes, such as brox+voc.",
            show_default="all eight",
        ),
    ] = None,
    seeds: Annotated[
        int, Option(min=1, help="Runs of every row: tables have their mean and deviation.")
    ] = 1,
    settings: Annotated[
        list[str] | None,
        Option(
            "--set",
            metavar="[RECIPE:]KEY=VALUE",
            help="Change a number of every recipe, or of the one that is named; repeatable.",
        ),
    ] = None,
    flow_images: options.FlowImages = None,
    frames_folder: options.FramesFolder = None,
    device: options.Device = "auto",
    precision: Annotated[str, Option(help="Of evaluation: auto, fp32, bf16, fp16.")] = "fp32",
    loader_workers: options.LoaderWorkers = None,
    dry_run: Annotated[
        bool,
        Option(
            "--dry-run",
            help="Show what will run, from which weights, and for how long; two steps are taken.",
        ),
    ] = False,
    debug: options.Debug = False,
) -> None:
    """Train and evaluate the rows of the paper's Table II.

    DIR/ROW/seed-0 holds the run, its rows and evaluation.json; DIR Tables II to
    IV (.md, .csv, .tex) and Figure 2, of what is done so far. A killed
    experiment goes on with the same command. If a row fails or lacks something,
    the others are run and the exit code is 7.
    """
    from tubedet.experiment.table_plan import ROWS, Experiment, plan_table
    from tubedet.experiment.table_run import load_table_data, run_table
    from tubedet.video.preprocess import require_flow_images

    require_flow_images(flow_images)
    experiment = Experiment(
        folder=output,
        data=data,
        init=tuple(init or ()),
        kinetics=kinetics,
        rows=tuple(rows.split(",")) if rows else tuple(ROWS),
        seeds=seeds,
        settings=tuple(settings or ()),
        flow_images=flow_images,
        frames_folder=frames_folder,
        device=device,
        precision=precision,
        loader_workers=loader_workers,
    )
    plan = plan_table(experiment)
    parts = load_table_data(experiment)
    for part in (parts.training, parts.test):
        report_absent(part.missing_videos)
        report_notes(part.notes)
    for name, lack in plan.lacking.items():
        complain(f"{name} is left out: it lacks {lack}")
    if dry_run:
        _show_plan(experiment, plan, parts)
        return
    failures = _follow(run_table(experiment, plan, parts), len(plan.runs), debug=debug)
    _show_tables(experiment, plan)
    if failures or plan.lacking:
        raise typer.Exit(EXIT_BATCH_FAILED)


def _follow(events: "Iterator[TableEvent]", of: int, *, debug: bool) -> int:
    """A bar for each stage, a line for each run.

    Returns:
        The number of runs that failed or whose figures lack something.
    """
    from tubedet.evaluation.evaluate import ClipEvaluated
    from tubedet.experiment import table_run as happened
    from tubedet.training.objective import StepDone

    failures = done = 0
    words = ""
    with ExitStack() as shown:
        view = shown.enter_context(TrainingView(1))
        for event in events:
            match event:
                case happened.StageBegun(run=run, stage=stage, total=total):
                    shown.close()
                    view = shown.enter_context(TrainingView(total))
                    words = f"{run.title}: {stage}"
                    view.note(f"{words} ({total})")
                    view.advance(0, words)
                case StepDone():
                    view.advance(event.step, f"{words}, loss {event.losses['total']:.2f}")
                case ClipEvaluated():
                    view.advance(event.done, words)
                case happened.RunDone(run=run, f_map=f_map):
                    done += bool(f_map)
                    figures = ", ".join(f"@{at} {100 * mean:.2f} %" for at, mean in f_map.items())
                    view.note(
                        f"{run.title}: f-mAP {figures} ({done} of {of})"
                        if f_map
                        else f"{run.title}: done"
                    )
                case happened.RunRemark(run=run, text=text):
                    failures += event.is_loss
                    complain(f"{run.title}: {text}")
                case happened.RunFailed(run=run, error=error):
                    failures += 1
                    if debug:
                        show_traceback(error)
                    complain(f"{run.title}: {explain(error, offer_debug=not debug)}")
    return failures


def _show_tables(experiment: "Experiment", plan: "TablePlan") -> None:
    from tubedet.evaluation.comparison_tables import table_of_variants
    from tubedet.experiment.table_files import figures_of_rows

    if rows := figures_of_rows(plan.runs):
        show_comparison(table_of_variants(rows))
        say(f"Tables II to IV and Figure 2 are in {experiment.folder}")


def _show_plan(experiment: "Experiment", plan: "TablePlan", data: "TableData") -> None:
    """A line a run; time and memory are measured once a row, on its first run that is not done."""
    from tubedet.experiment.table_run import dry_run_of

    measured: dict[str, str] = {}
    for run in (*([plan.pretraining] if plan.pretraining else []), *plan.runs):
        name = run.recipe.name
        line = f"{run.title}: {run.state()}, from {' and '.join(map(str, run.start))}"
        if not run.trained.exists():
            if name not in measured:
                found = dry_run_of(experiment, plan, run, data)
                measured[name] = f"training, {found['the run']}; memory {found['peak memory']}"
            line += f"; {measured[name]}"
        say(line)
