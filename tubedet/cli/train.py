"""`tubedet train`: a detector learns from annotated clips."""

from collections.abc import Iterator
from statistics import fmean
from typing import TYPE_CHECKING, Annotated

from tubedet.cli import train_options as options
from tubedet.cli.console import TrainingView, report_absent, say
from tubedet.cli.train_options import Part

if TYPE_CHECKING:
    from tubedet.datasets.annotated_clips import AnnotatedDataset
    from tubedet.training.detection_training import Event, StepDone, Validated
    from tubedet.training.recipes import Recipe, Setting
    from tubedet.training.run_folder import RunFolder

STEPS_A_LINE = 50


def _settings() -> "list[Setting]":
    from tubedet.training.recipes import Recipe, explain_settings

    return explain_settings(Recipe())


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
    preset: options.Preset = None,
    settings: options.Settings = None,
    seed: options.Seed = None,
    list_settings: Annotated[bool, options.list_settings(_settings)] = False,
    init: options.Init = None,
    imagenet: options.ImageNet = None,
    flow: options.Flow = None,
    debug: options.Debug = False,
) -> None:
    """Train a detector.

    RUN holds best.safetensors for detect and evaluate, last.safetensors
    for --resume, log.jsonl, config.json and loss.png. A killed run goes on
    with the same command and --resume.

    On a CPU under Linux a step takes about half the time if freed memory is
    kept: MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=17179869184
    MALLOC_TOP_PAD_=268435456 GLIBC_TUNABLES=glibc.malloc.hugetlb=1
    """
    from tubedet.training.run_folder import RunFolder
    from tubedet.training.start_network import StartWeights
    from tubedet.training.train_detector import prepare_training

    run = RunFolder(output)
    recipe = _recipe(run, resume, preset, seed, settings or [])
    if not resume:
        run.require_unused()
    training, validation = _load(data, split, part, validate=recipe.evaluate_every > 0)
    trainer = prepare_training(
        recipe,
        training,
        validation,
        run,
        start=StartWeights(checkpoints=tuple(init or ()), imagenet=imagenet, flow=flow),
        frames_folder=frames_folder,
        ignore_regions=ignore_regions,
        device=device,
        resume=resume,
    )
    _follow(trainer.train(), recipe.steps)
    say(f"weights: {run.best}")


def _recipe(
    run: "RunFolder", resume: bool, preset: str | None, seed: int | None, settings: list[str]
) -> "Recipe":
    """The defaults or the resumed run's recipe, and what the command line says otherwise."""
    from tubedet.training.recipes import Recipe, apply_settings, stored_settings

    changes = stored_settings(run.read_config()["recipe"]) if resume else []
    changes += [f"preset={preset}"] if preset is not None else []
    changes += [f"seed={seed}"] if seed is not None else []
    return apply_settings(Recipe(), [*changes, *settings])


def _load(
    data: str, split: int, part: Part, *, validate: bool
) -> tuple["AnnotatedDataset", "AnnotatedDataset | None"]:
    from tubedet.datasets.named_datasets import load_named_dataset

    parts = [part, "validation"] if validate and part is Part.TRAIN else [part]
    loaded = [load_named_dataset(data, split, each) for each in parts]
    report_absent([video for each in loaded for video in each.missing_videos])
    return loaded[0], loaded[1] if len(loaded) > 1 else None


def _follow(events: "Iterator[Event]", steps: int) -> None:
    """Show what happens: a line every now and then, and a bar in between."""
    from tubedet.evaluation.evaluate import ClipEvaluated
    from tubedet.training.detection_training import StepDone, Validated

    recent: list[StepDone] = []
    with TrainingView(steps) as view:
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
