"""`tubedet pretrain-flow`: the flow network of `light` learns optical flow by itself."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tubedet.cli import train_options as options
from tubedet.cli.console import report_absent, say
from tubedet.cli.train import follow
from tubedet.cli.train_options import Part

if TYPE_CHECKING:
    from tubedet.training.recipes import FlowRecipe
    from tubedet.training.run_folder import RunFolder
    from tubedet.training.settings import Setting


def _settings(**_: object) -> "list[Setting]":
    from tubedet.training.recipes import FlowRecipe
    from tubedet.training.settings import explain_settings

    return explain_settings(FlowRecipe())


def pretrain_flow(
    *,
    data: options.Data,
    output: options.RunFolder,
    resume: options.Resume = False,
    device: options.Device = "auto",
    split: options.Split = 1,
    part: options.LearnFrom = Part.TRAIN,
    frames_folder: options.FramesFolder = None,
    settings: options.Settings = None,
    seed: options.Seed = None,
    list_settings: Annotated[bool, options.list_settings(_settings)] = False,
    loader_workers: options.LoaderWorkers = None,
    tensorboard: options.TensorBoard = False,
    debug: options.Debug = False,
) -> None:
    """Teach the flow network optical flow, on moving textures cut from training clips.

    RUN holds best.safetensors for train --flow, last.safetensors for
    --resume, log.jsonl, config.json and loss.png. A killed run goes on with
    the same command and --resume. Several processes train together: torchrun
    --nproc-per-node N -m tubedet pretrain-flow …
    """
    from tubedet.training.distributed import joined_processes
    from tubedet.training.flow_pretraining import prepare_flow_training
    from tubedet.training.run_folder import RunFolder

    with (
        joined_processes(device) as (processes, own_device),
        RunFolder(output, writes=processes.is_first, tensorboard=tensorboard) as run,
    ):
        recipe = _recipe(run if resume else None, seed, settings or [])
        if not resume:
            run.require_unused()
        pairs = output / "frame_pairs.npy"
        if processes.is_first and not (resume and pairs.exists()):
            _write_pairs(pairs, data, split, part, frames_folder)
        processes.from_first({})  # the others wait for the file
        trainer = prepare_flow_training(
            recipe,
            pairs,
            run,
            data=f"{data.partition(':')[0]}, split {split}, {part}",
            device=own_device,
            resume=resume,
            processes=processes,
            loader_workers=loader_workers,
        )
        follow(trainer)
        if processes.is_first:
            say(f"weights: {run.best}")


def _recipe(run: "RunFolder | None", seed: int | None, settings: list[str]) -> "FlowRecipe":
    """That of the run to resume or the usual one, and what the command line says otherwise."""
    from tubedet.training.recipes import FlowRecipe
    from tubedet.training.settings import apply_settings, stored_recipe

    recipe = FlowRecipe()
    if run is not None:
        recipe = stored_recipe(recipe, run.read_config()["recipe"])
    return apply_settings(recipe, [*([f"seed={seed}"] if seed is not None else []), *settings])


def _write_pairs(path: Path, data: str, split: int, part: Part, frames_folder: Path | None) -> None:
    """Cut the pairs out of the clips, once a run."""
    from tubedet.datasets.clip_frames import ClipFrames
    from tubedet.datasets.flow_batches import write_frame_pairs
    from tubedet.datasets.named_datasets import load_named_dataset

    clips = load_named_dataset(data, split, part)
    report_absent(clips.missing_videos)
    write_frame_pairs(clips.clips, ClipFrames(frames_folder), path)
