"""`tubedet fit-actions`: the last step of training `light`."""

from pathlib import Path
from typing import Annotated

from typer import Option

from tubedet.cli import train_options as options
from tubedet.cli.console import report_absent, say, with_bar
from tubedet.cli.output_file import Output, Overwrite, refuse_existing
from tubedet.cli.train_options import Part


def fit_actions(
    *,
    weights: Annotated[
        Path, Option(help="What tubedet train left: RUN/best.safetensors.", show_default=False)
    ],
    data: options.Data,
    output: Output,
    split: options.Split = 1,
    part: options.LearnFrom = Part.TRAIN,
    frames_folder: options.FramesFolder = None,
    device: options.Device = "auto",
    overwrite: Overwrite = False,
    debug: options.Debug = False,
) -> None:
    """Refit what names actions in a trained light detector, on whole frames.

    By logistic regression on what its streams see, in minutes. Sizes and overlap
    of the boxes are set right on average.
    """
    from dataclasses import replace

    import torch

    from tubedet.checkpoints.native import load_checkpoint, save_checkpoint
    from tubedet.datasets.clip_frames import ClipFrames
    from tubedet.datasets.named_datasets import load_named_dataset
    from tubedet.models.presets import config_from_dict
    from tubedet.training.action_fit import ActionFit

    refuse_existing(output, overwrite)
    network, header = load_checkpoint(weights)
    clips = load_named_dataset(data, split, part)
    report_absent(clips.missing_videos)
    config = config_from_dict(header.config)
    fit = ActionFit(network, config, clips, ClipFrames(frames_folder), device=device)
    for _ in with_bar(fit.run(), "looking at clips", len(clips.clips)):
        pass
    fitted = replace(
        header,
        config=fit.config.to_dict(),
        training_data_sha256=clips.sha256,
        metrics={},
        min_score=None,
    )
    save_checkpoint(output, network, fitted, torch.float16)
    say(f"weights: {output}")
