"""`tubedet pretrain-flow`: the flow network of `light` learns optical flow by itself."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tubedet.cli import train_options as options
from tubedet.cli.console import TrainingView, report_absent, say
from tubedet.cli.train_options import Part

if TYPE_CHECKING:
    from tubedet.training.flow_pretraining import FlowPretrainingConfig, FlowStep
    from tubedet.training.recipes import Setting
    from tubedet.training.run_folder import RunFolder

PLACES = ("frame_pairs", "run_folder")  # follow from RUN


def _settings(_: str | None) -> "list[Setting]":
    from tubedet.training.recipes import explain_settings

    settings = explain_settings(_config(Path("RUN")))
    return [setting for setting in settings if setting.name not in PLACES]


def pretrain_flow(
    *,
    data: options.Data,
    output: options.RunFolder,
    resume: options.Resume = False,
    split: options.Split = 1,
    part: options.LearnFrom = Part.TRAIN,
    frames_folder: options.FramesFolder = None,
    settings: options.Settings = None,
    seed: options.Seed = None,
    list_settings: Annotated[bool, options.list_settings(_settings)] = False,
    debug: options.Debug = False,
) -> None:
    """Teach the flow network optical flow, on moving textures cut from training clips.

    RUN/last.safetensors is for train --flow. A killed run goes on with the
    same command and --resume.
    """
    from tubedet.training.flow_pretraining import pretrain_flow as run_pretraining
    from tubedet.training.recipes import apply_settings, stored_settings
    from tubedet.training.run_folder import RunFolder

    run = RunFolder(output)
    if not resume:
        run.require_unused()
    changes = stored_settings(run.read_config()["recipe"]) if resume else []
    changes += [f"seed={seed}"] if seed is not None else []
    config = apply_settings(_config(output), [*changes, *(settings or [])])
    _write_pairs(config.frame_pairs, data, split, part, frames_folder)
    _write_config(run, config, data_part=f"{data.partition(':')[0]}, split {split}, {part}")
    with TrainingView(config.steps) as view:
        for event in run_pretraining(config):
            view.advance(event.step, f"loss {event.loss:.2f}")
            view.note(_line(event))
    say(f"weights: {run.last}")


def _config(output: Path) -> "FlowPretrainingConfig":
    from tubedet.training.flow_pretraining import FlowPretrainingConfig

    return FlowPretrainingConfig(frame_pairs=output / "frame_pairs.npy", run_folder=output)


def _write_pairs(path: Path, data: str, split: int, part: Part, frames_folder: Path | None) -> None:
    """Cut the pairs out of the clips, once a run."""
    from tubedet.datasets.clip_frames import ClipFrames
    from tubedet.datasets.flow_batches import write_frame_pairs
    from tubedet.datasets.named_datasets import load_named_dataset

    if not path.exists():
        clips = load_named_dataset(data, split, part)
        report_absent(clips.missing_videos)
        write_frame_pairs(clips.clips, ClipFrames(frames_folder), path)


def _write_config(run: "RunFolder", config: "FlowPretrainingConfig", data_part: str) -> None:
    from tubedet.training.run_description import describe_program

    recipe = {name: value for name, value in asdict(config).items() if name not in PLACES}
    run.write_config({**describe_program(), "recipe": recipe, "data": data_part})


def _line(event: "FlowStep") -> str:
    line = (
        f"step {event.step}: loss {event.loss:.3f}, end-point error "
        f"{event.end_point_error_px:.3f} px; {event.pairs_per_s:.1f} pairs/s"
    )
    if event.procedural_error_px is None:
        return line
    return f"{line}; on pairs unlike these {event.procedural_error_px:.3f} px"
