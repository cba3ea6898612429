"""`tubedet train`: a detector learns from annotated clips, or its streams from whole ones."""

from collections.abc import Iterator
from statistics import fmean
from typing import TYPE_CHECKING, Annotated

from tubedet.cli import train_options as options
from tubedet.cli.console import TrainingView, report_absent, report_notes, say, show_table
from tubedet.cli.train_options import Part

if TYPE_CHECKING:
    from tubedet.training.detection_training import Trainer
    from tubedet.training.events import Event, StepDone, Validated
    from tubedet.training.recipes import Recipe, Setting
    from tubedet.training.run_folder import RunFolder
    from tubedet.training.train_detector import Data

STEPS_A_LINE = 50
DEFAULT_RECIPE = "light"


def _settings(recipe: str | None) -> "list[Setting]":
    from tubedet.training.paper_recipes import named_recipe
    from tubedet.training.recipes import explain_settings

    return explain_settings(named_recipe(recipe or DEFAULT_RECIPE))


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
    imagenet: options.ImageNet = None,
    flow: options.Flow = None,
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

    with joined_processes(device) as (processes, own_device):
        writes = processes.is_first and not dry_run
        run = RunFolder(output, writes=writes, tensorboard=tensorboard)
        chosen = _recipe(run if resume else None, recipe, preset, seed, settings or [])
        if not resume:
            run.require_unused()
        training, validation = _load(data, split, part, chosen)
        if processes.is_first:
            loaded = [each for each in (training, validation) if each]
            report_absent([video for each in loaded for video in each.missing_videos])
            report_notes(note for each in loaded for note in each.notes)
        trainer = prepare_training(
            chosen,
            training,
            validation,
            run,
            start=StartWeights(checkpoints=tuple(init or ()), imagenet=imagenet, flow=flow),
            frames_folder=frames_folder,
            ignore_regions=ignore_regions,
            flow_images=flow_images,
            device=own_device,
            resume=resume,
            processes=processes,
        )
        if dry_run:
            _report(trainer)
            return
        _follow(trainer.train(), chosen.steps, quiet=not processes.is_first)
        if processes.is_first:
            say(f"weights: {run.best}")


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
    from tubedet.training.recipes import apply_settings, stored_settings

    if name is not None and preset is not None:
        raise UsageError(f"--recipe {name} has its network: leave --preset {preset} out")
    stored = run.read_config()["recipe"] if run else {}
    found = stored.get("name", DEFAULT_RECIPE)
    if run and name not in (None, found):
        raise UsageError(f"--recipe {name}: the run to resume has recipe {found}")
    changes = stored_settings(stored)
    changes += [f"preset={preset}"] if preset is not None else []
    changes += [f"seed={seed}"] if seed is not None else []
    return apply_settings(named_recipe(name or found), [*changes, *settings])


def _report(trainer: "Trainer") -> None:
    """Take the steps of a dry run, and show what came of them."""
    from tubedet.training.dry_run import dry_run

    findings = list(dry_run(trainer))
    if trainer.processes.is_first:
        show_table(("dry run", trainer.recipe.name), findings)


def _load(data: str, split: int, part: Part, recipe: "Recipe") -> tuple["Data", "Data | None"]:
    from tubedet.datasets.named_datasets import load_named_actions, load_named_dataset

    validates = recipe.evaluate_every > 0 and part is Part.TRAIN
    loaded: list[Data] = [
        load_named_actions(data, each)
        if recipe.task == "recognition"
        else load_named_dataset(data, split, each)
        for each in ([part, "validation"] if validates else [part])
    ]
    return loaded[0], loaded[1] if len(loaded) > 1 else None


def _follow(events: "Iterator[Event]", steps: int, *, quiet: bool) -> None:
    """Show what happens: a line every now and then, and a bar in between."""
    from tubedet.evaluation.evaluate import ClipEvaluated
    from tubedet.training.events import StepDone, Validated

    recent: list[StepDone] = []
    with TrainingView(steps, quiet=quiet) as view:
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


def _line_of_steps(steps: "list[StepDone]") -> str:
    mean = {term: fmean(step.losses[term] for step in steps) for term in steps[0].losses}
    terms = ", ".join(f"{term} {value:.3f}" for term, value in mean.items())
    return f"step {steps[-1].step}: {terms}; {fmean(s.samples_per_s for s in steps):.1f} samples/s"


def _line_of_validation(event: "Validated") -> str:
    shares = ", ".join(f"@{at} {100 * share:.1f} %" for at, share in event.measures.items())
    best = ", the best so far" if event.is_best else ""
    return f"step {event.step}: {event.figure} on the validation part {shares}{best}"
