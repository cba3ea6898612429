"""Running the rows of Table II: each is trained and evaluated as the commands do it.

Whatever ends it, the same call goes on: what is done is not repeated, a training run goes on from
its last state, an evaluation from its rows.
"""

import gc
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from tubedet.checkpoints.catalog import sha256_of
from tubedet.datasets.annotated_clips import AnnotatedDataset
from tubedet.datasets.named_datasets import load_named_actions, load_named_dataset
from tubedet.errors import OutputError, UsageError
from tubedet.evaluation.evaluate import ClipEvaluated, evaluate_detector
from tubedet.evaluation.results_table import write_result_json, write_text
from tubedet.evaluation.rows_file import sole_writer
from tubedet.evaluation.scoring import EvaluationResult
from tubedet.experiment.start_files import choose_start, read_start_file
from tubedet.experiment.table_files import figures_of_rows, write_tables
from tubedet.experiment.table_plan import Experiment, TablePlan, TableRun
from tubedet.models.two_stream import TwoStreamDetector
from tubedet.pipeline import load_detector
from tubedet.runtime.detector import Detector
from tubedet.training.dry_run import dry_run
from tubedet.training.loop import Trainer
from tubedet.training.objective import Event
from tubedet.training.run_folder import RunFolder
from tubedet.training.start_network import Data, StartWeights
from tubedet.training.train_detector import prepare_training

SPLIT = 1
LARGER_BATCH = 4  # of Table IV
SPEED_CLIPS = 20  # which are enough for a rate


@dataclass(frozen=True, slots=True)
class StageBegun:
    """A stage of a run: "training" of so many steps, or "evaluation" of so many clips."""

    run: TableRun
    stage: str
    total: int


@dataclass(frozen=True, slots=True)
class RunDone:
    """A run is complete; `f_map` by IoU threshold, of pre-training empty."""

    run: TableRun
    f_map: dict[float, float]


@dataclass(frozen=True, slots=True)
class RunFailed:
    """A run cannot be completed; the others go on."""

    run: TableRun
    error: Exception


@dataclass(frozen=True, slots=True)
class RunRemark:
    """Something that whoever uses the figures should know; the run goes on.

    `is_loss` says that something is missing from them.
    """

    run: TableRun
    text: str
    is_loss: bool = False


TableEvent = StageBegun | Event | RunDone | RunFailed | RunRemark


@dataclass(frozen=True, slots=True)
class TableData:
    """The parts of the data set that the rows are trained on and measured on."""

    training: AnnotatedDataset
    test: AnnotatedDataset


def load_table_data(experiment: Experiment) -> TableData:
    """UsageError and DatasetError as `load_named_dataset`."""
    training, test = (
        load_named_dataset(experiment.data, SPLIT, part) for part in ("train", "test")
    )
    return TableData(training, test)


def run_table(experiment: Experiment, plan: TablePlan, data: TableData) -> Iterator[TableEvent]:
    """Run what is not done yet; tables and figure are written anew after every row.

    Raises:
        OutputError: if another process runs this experiment, or its folder can't be written.
    """
    failed: set[Path] = set()
    _make(experiment.folder)
    with sole_writer(experiment.folder / "table2"):
        for run in (*([plan.pretraining] if plan.pretraining else []), *plan.runs):
            try:
                if failed & set(run.start):
                    raise UsageError(f"{run.title}: its start weights could not be made")
                yield from _train(experiment, run, data)
                gc.collect()  # nothing else tells Python that a GPU is full of what is done with
                if run is not plan.pretraining:
                    yield from _evaluate(experiment, run, data.test)
                    write_tables(experiment.folder, figures_of_rows(plan.runs))
                    yield from _measure_speed(experiment, run, data.test)
            except Exception as error:  # nothing that fails a row ends a night's work
                failed.add(run.weights)
                yield RunFailed(run, error)
                _let_go(error)
                continue
            rows = figures_of_rows(plan.runs)
            if rows:
                write_tables(experiment.folder, rows)
            own = [] if run is plan.pretraining else figures_of_rows([run])
            yield RunDone(run, own[0].trimmed if own else {})


def dry_run_of(
    experiment: Experiment, plan: TablePlan, run: TableRun, data: TableData
) -> dict[str, str]:
    """What a dry run finds of a run that is to be trained: time, memory and so on.

    Pre-trained weights that are not there yet are stood in for by what they start from.
    """
    if plan.pretraining and plan.pretraining.weights in run.start:
        recipe = replace(run.recipe, start="any")
        files = (*plan.pretraining.start, *run.start)
        there = [read_start_file(path) for path in files if path != plan.pretraining.weights]
        run = replace(run, recipe=recipe, start=choose_start(recipe, there) or ())
    training = _training_data(experiment, run, data)
    trainer = _trainer(experiment, run, training, writes=False)
    return dict(dry_run(trainer, epoch=len(training.clips)))


def _let_go(error: BaseException) -> None:
    """Free what the frames of a failure hold, a network above all: the next one needs the room."""
    link: BaseException | None = error
    while link is not None:
        link.__traceback__ = None
        link = link.__cause__ or link.__context__
    gc.collect()


def _train(experiment: Experiment, run: TableRun, data: TableData) -> Iterator[TableEvent]:
    _require_same_start(run, data)
    for setting in run.other_settings():
        kept = "kept" if run.trained.exists() else "gone on with"
        yield RunRemark(run, f"begun with {setting}, {kept}; remove {run.folder} to begin anew")
    if run.trained.exists():
        return
    training = _training_data(experiment, run, data)
    trainer = _trainer(experiment, run, training, writes=True)
    yield StageBegun(run, "training", run.recipe.steps)
    yield from trainer.train()
    for note in trainer.samples.notes:
        yield RunRemark(run, note.text)
    write_text(run.trained, json.dumps({"steps": run.recipe.steps}) + "\n")


def _trainer(
    experiment: Experiment, run: TableRun, training: Data, *, writes: bool
) -> Trainer[TwoStreamDetector]:
    """As `tubedet train`, or `tubedet train --resume` where there is a state."""
    folder = RunFolder(run.folder, writes=writes)
    return prepare_training(
        run.recipe,
        training,
        None,  # nothing is chosen by it in the paper: the last weights count
        folder,
        start=StartWeights(checkpoints=run.start),
        frames_folder=experiment.frames_folder,
        flow_images=_flow_images(experiment, run),
        device=experiment.device,
        resume=folder.last.exists(),
        loader_workers=experiment.loader_workers,
    )


def _training_data(experiment: Experiment, run: TableRun, data: TableData) -> Data:
    if run.recipe.task != "recognition":
        return data.training
    assert experiment.kinetics is not None
    return load_named_actions(experiment.kinetics, "train")


def _evaluate(
    experiment: Experiment, run: TableRun, test: AnnotatedDataset
) -> Iterator[TableEvent]:
    if run.is_evaluated:
        return
    yield StageBegun(run, "evaluation", len(test.clips))
    for event in evaluate_detector(
        _detector(experiment, run),
        test,
        flow_images=_flow_images(experiment, run),
        rows=run.rows,
        resume=True,
    ):
        if isinstance(event, ClipEvaluated):
            yield event
            continue
        write_result_json(event, run.evaluation)
        if event.source.decoded_frames:
            yield RunRemark(
                run,
                f"clips that could not be run: {len(event.source.failed_clips)}; true boxes of "
                f"frames that were not seen, which count as missed: {event.boxes_not_decoded}; "
                f"see {run.evaluation}",
                is_loss=bool(event.source.failed_clips),
            )


def _measure_speed(
    experiment: Experiment, run: TableRun, test: AnnotatedDataset
) -> Iterator[TableEvent]:
    if run.speed.exists():
        return
    few = replace(test, clips=test.clips[:SPEED_CLIPS])
    yield StageBegun(run, "speed at the larger batch size", len(few.clips))
    for event in evaluate_detector(
        _detector(experiment, run),
        few,
        batch_size=LARGER_BATCH,
        flow_images=_flow_images(experiment, run),
    ):
        if isinstance(event, EvaluationResult):
            names = ("device", "precision", "batch_size", "frames_per_second", "videos", "frames")
            figures = {name: event.to_dict()[name] for name in names}
            write_text(run.speed, json.dumps(figures, indent=2) + "\n")
        else:
            yield event


def _detector(experiment: Experiment, run: TableRun) -> Detector:
    return load_detector(run.weights, device=experiment.device, precision=experiment.precision)


def _flow_images(experiment: Experiment, run: TableRun) -> Path | None:
    return experiment.flow_images if run.recipe.preset == "brox" else None


def _require_same_start(run: TableRun, data: TableData) -> None:
    """Whoever goes on with other weights or clips no longer knows what the figures are of."""
    if not run.config:
        return
    before = run.config["start"]["checkpoints"]
    if [file["sha256"] for file in before] != [_hash(path) for path in run.start]:
        names = ", ".join(file["file"] for file in before)
        raise UsageError(
            f"{run.folder}: was begun from another {names}; give that with --init, or another "
            "folder with -o"
        )
    detects = run.recipe.task == "detection"
    if detects and run.config["data"]["sha256"] != data.training.sha256:
        raise UsageError(f"{run.folder}: was trained on other data; choose another folder with -o")


@lru_cache
def _hash(path: Path) -> str:
    return sha256_of(path)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot make the folder: {error}") from error
