"""`tubedet train`: a detector learns from annotated clips, or its streams from whole ones."""

from statistics import fmean
from typing import TYPE_CHECKING, Annotated, Any

from tubedet.cli import train_options as options
from tubedet.cli.console import TrainingView, complain, report_absent, report_notes, say, show_table
from tubedet.cli.train_options import Part

if TYPE_CHECKING:
    from tubedet.training.loop import Trainer
    from tubedet.training.objective import StepDone, Validated
    from tubedet.training.recipes import Recipe
    from tubedet.training.run_folder import RunFolder
    from tubedet.training.settings import Setting
    from tubedet.training.start_network import Data

STEPS_A_LINE = 50
DEFAULT_RECIPE = "light"


def _settings(*, recipe: str | None, preset: str | None) -> "list[Setting]":
    from tubedet.training.settings import explain_settings

    return explain_settings(_named(recipe, preset))


def train(
    *,
    data: options.Data,
    output: options.RunFolder,
    resume: options.Resume = False,
    device: options.Device = "auto",
    split: options.Split = 1,
    part: options.LearnFrom = Part.TRAIN,
    frames_folder: options.FramesFolder = None,
    ignore_regions: options.IgnoreRegions = None,
    flow_images: options.FlowImages = None,
    recipe: options.Recipe = None,
    preset: options.Preset = None,
    settings: options.Settings = None,
    seed: options.Seed = None,
    list_settings: Annotated[bool, options.list_settings(_settings)] = False,
    init: options.Init = None,
    video_backbone: options.VideoBackbone = None,
    flow: options.Flow = None,
    loader_workers: options.LoaderWorkers = None,
    dry_run: options.DryRun = False,
    tensorboard: options.TensorBoard = False,
    debug: options.Debug = False,
) -> None:
    """Train a detector, or pre-train its streams on Kinetics.

    RUN holds best.safetensors for detect and evaluate, or for --init,
    last.safetensors for --resume, log.jsonl, config.json and loss.png. A
    killed run goes on with the same command and --resume. Several processes
    train together: torchrun --nproc-per-node N -m tubedet train …

    On a CPU under Linux a step takes about half the time if freed memory is
    kept: MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=17179869184
    MALLOC_TOP_PAD_=268435456 GLIBC_TUNABLES=glibc.malloc.hugetlb=1
    """
    from tubedet.training.distributed import joined_processes
    from tubedet.training.run_folder import RunFolder
    from tubedet.training.start_network import StartWeights
    from tubedet.training.train_detector import prepare_training

    with (
        joined_processes(device) as (processes, own_device),
        RunFolder(
            output, writes=processes.is_first and not dry_run, tensorboard=tensorboard
        ) as run,
    ):
        chosen = _recipe(run if resume else None, recipe, preset, seed, settings or [])
        if not resume:
            run.require_unused()
        training, validation = _load(data, split, part, chosen)
        if processes.is_first:
            _warn_of_random_start(chosen, any((resume, init, video_backbone)))
            loaded = [each for each in (training, validation) if each]
            report_absent([video for each in loaded for video in each.missing_videos])
            report_notes(note for each in loaded for note in each.notes)
        trainer = prepare_training(
            chosen,
            training,
            validation,
            run,
            start=StartWeights(
                checkpoints=tuple(init or ()), video_backbone=video_backbone, flow=flow
            ),
            frames_folder=frames_folder,
            ignore_regions=ignore_regions,
            flow_images=flow_images,
            device=own_device,
            resume=resume,
            processes=processes,
            loader_workers=loader_workers,
        )
        if dry_run:
            _report(trainer, epoch=len(training.clips))
            return
        if processes.is_first:
            say(
                f"{chosen.name}: {chosen.preset} on {trainer.device}, {len(training.clips)} clips, "
                f"steps {trainer.step + 1} to {chosen.steps} of {chosen.batch_size}; {run.log}"
            )
        follow(trainer)
        if processes.is_first:
            _fit(trainer, training, own_device)
            say(f"weights: {run.best}")


def _warn_of_random_start(recipe: "Recipe", has_weights: bool) -> None:
    if recipe.preset == "light" and not has_weights:
        complain(
            "the video backbone starts from random weights, which a few hundred clips cannot make "
            "good: give --video-backbone FILE"
        )


def _recipe(
    run: "RunFolder | None",
    name: str | None,
    preset: str | None,
    seed: int | None,
    settings: list[str],
) -> "Recipe":
    """A named recipe or that of the run to resume, and what the command line says otherwise."""
    from tubedet.errors import UsageError
    from tubedet.training.paper_recipes import named_recipe
    from tubedet.training.settings import apply_settings, stored_recipe

    chosen = _named(name, preset)
    if run is not None:
        stored = run.read_config()["recipe"]
        if name not in (None, found := stored.get("name", "")):
            raise UsageError(f"--recipe {name}: the run to resume has recipe {found}")
        chosen = stored_recipe(named_recipe(found), stored)
        if preset not in (None, chosen.preset):
            raise UsageError(f"--preset {preset}: the run to resume trains {chosen.preset}")
    return apply_settings(chosen, [*([f"seed={seed}"] if seed is not None else []), *settings])


def _named(name: str | None, preset: str | None) -> "Recipe":
    """The recipe of a name, or the one for a network; `light`, if neither is given."""
    from tubedet.errors import UsageError
    from tubedet.training.paper_recipes import named_recipe
    from tubedet.training.settings import apply_settings

    if name is not None and preset is not None:
        raise UsageError(f"--recipe {name} has its network: leave --preset {preset} out")
    if preset not in (None, "light"):
        return apply_settings(named_recipe("two-stream"), [f"preset={preset}"])
    return named_recipe(name or DEFAULT_RECIPE)


def _report(trainer: "Trainer[Any]", *, epoch: int) -> None:
    """Take the steps of a dry run, and show what came of them."""
    from tubedet.training.dry_run import dry_run

    findings = list(dry_run(trainer, epoch))
    if trainer.processes.is_first:
        show_table(("dry run", trainer.recipe.name), findings)


def _load(data: str, split: int, part: Part, recipe: "Recipe") -> tuple["Data", "Data | None"]:
    from tubedet.datasets.named_datasets import load_named_actions, load_named_dataset
    from tubedet.errors import EmptyPartError

    validates = recipe.evaluate_every > 0 and part is Part.TRAIN

    def load(each: str) -> "Data":
        if recipe.task == "recognition":
            return load_named_actions(data, each)
        return load_named_dataset(data, split, each)

    training = load(part)
    try:
        return training, load("validation") if validates else None
    except EmptyPartError as error:
        raise EmptyPartError(f"{error}; or --set evaluate_every=0 to train without one") from error


def follow(trainer: "Trainer[Any]") -> None:
    """Train, and show what happens: a line every now and then, and a bar in between."""
    from tubedet.evaluation.evaluate import ClipEvaluated
    from tubedet.training.objective import StepDone, Validated

    recent: list[StepDone] = []
    steps, events = trainer.recipe.steps, trainer.train()
    with TrainingView(steps, quiet=not trainer.processes.is_first) as view:
        for event in events:
            match event:
                case StepDone():
                    recent.append(event)
                    view.advance(event.step, f"loss {event.losses['total']:.2f}")
                    if event.step % STEPS_A_LINE == 0 or event.step == steps:
                        view.note(_line_of_steps(recent))
                        recent = []
                case ClipEvaluated(done=done, total=total):
                    view.advance(None, f"validating {done}/{total}")
                case Validated():
                    view.note(_line_of_validation(event))
    report_notes(trainer.samples.notes)


def _fit(trainer: "Trainer[Any]", training: "Data", device: str) -> None:
    """Fit what names actions in a trained `light`, and show how far that is."""
    from tubedet.datasets.annotated_clips import AnnotatedDataset
    from tubedet.training.fitted_checkpoint import fit_published, needs_fit
    from tubedet.training.objective import Validated

    if not isinstance(training, AnnotatedDataset) or not needs_fit(trainer):
        return
    with TrainingView(len(training.clips)) as view:
        for event in fit_published(trainer, training, device=device):
            if isinstance(event, Validated):
                view.note(f"actions fitted: {_line_of_validation(event)}")
            else:
                view.advance(event.done, "fitting actions")


def _line_of_steps(steps: "list[StepDone]") -> str:
    mean = {term: fmean(step.losses[term] for step in steps) for term in steps[0].losses}
    terms = ", ".join(f"{term} {value:.3f}" for term, value in mean.items())
    waiting = fmean(step.waited_s / step.seconds for step in steps)
    waited = f", {100 * waiting:.0f} % of the time waiting for them" if waiting > 0.1 else ""
    speed = fmean(step.samples_per_s for step in steps)
    return f"step {steps[-1].step}: {terms}; {speed:.1f} samples/s{waited}"


def _line_of_validation(event: "Validated") -> str:
    of = event.validation
    figures = ", ".join(
        f"@{name} {100 * value:.1f} %" if of.unit == "%" else f"{name} {value:.3f} {of.unit}"
        for name, value in event.measures.items()
    )
    best = ", kept as best.safetensors" if event.is_best else ""
    return f"step {event.step}: {of.figure} {figures}{best}"
