"""Give a trained checkpoint what a bundled one has to say: threshold, figures, source, licence.

    python examples/bundle_weights.py RUN/best.safetensors weights/light.safetensors
        --min-score 0.3 --evaluation validation.json [--input-size 288]

The figures are those of `tubedet evaluate --json`; networks of convolutions alone take any input
size, and the one that was measured is the one to store. Weights stay in half precision.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from tubedet.checkpoints.native import load_checkpoint, save_checkpoint
from tubedet.models.presets import build_detector, config_from_dict

LICENCE = "CC-BY-4.0"
SOURCE = (
    "trained by the tubedet authors on J-HMDB-21 (clips of HMDB51, Kuehne et al. 2011, CC BY 4.0) "
    "from MoViNet-A0-Stream's Kinetics-600 weights (Google, Apache-2.0)"
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Load, complete the header, store."""
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--min-score", type=float)
    parser.add_argument("--input-size", type=int)
    parser.add_argument("--flow-size", type=int)
    parser.add_argument("--evaluation", type=Path, help="what `tubedet evaluate --json` wrote")
    options = parser.parse_args(arguments)
    network, header = load_checkpoint(options.checkpoint)
    sizes = {"input_size": options.input_size, "flow_size": options.flow_size}
    chosen = {name: size for name, size in sizes.items() if size is not None}
    config = config_from_dict({**header.config, **chosen})
    sized = build_detector(config)
    sized.load_state_dict(network.state_dict())
    metrics = dict(header.metrics)
    if options.evaluation is not None:
        result = json.loads(options.evaluation.read_text(encoding="utf-8"))
        name = f"{result['data']}_{result['part']}_f_map"
        metrics = {f"{name}@{iou}": round(share, 4) for iou, share in result["f_map"].items()}
    complete = replace(
        header,
        config=config.to_dict(),
        metrics=metrics,
        min_score=header.min_score if options.min_score is None else options.min_score,
        source=SOURCE,
        licence=LICENCE,
    )
    save_checkpoint(options.target, sized, complete, torch.float16)


if __name__ == "__main__":
    main()
