"""How good the flow inside checkpoints is, before and after tuning, beside OpenCV's DIS and none.

    python examples/measure_flow.py DATA CHECKPOINT ... [--pretrained FLOW]
        [--picture VIDEO FRAME FILE]

End-point error in px on procedural pairs, which no training sees; photometric error, in levels of
255, on the middle pair of every validation clip of DATA (`jhmdb-21:FOLDER`). All estimators meet
the same squares, of the first checkpoint's input size. FLOW is what `tubedet pretrain-flow` left;
the picture shows a pair of a video and its flows on the colour wheel, in the table's order.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from tubedet.checkpoints.native import read_header
from tubedet.datasets.named_datasets import load_named_dataset
from tubedet.datasets.procedural_flow import procedural_samples
from tubedet.evaluation.flow_comparison import (
    checkpoint_estimator,
    flow_sheet,
    middle_pairs,
    pretrained_estimator,
    video_pair,
)
from tubedet.evaluation.flow_error import FlowEstimator, compare_flow, dis_estimator, zero_flow
from tubedet.models.presets import config_from_dict
from tubedet.render.contact_sheet import write_picture


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print a table, draw the picture."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", help="NAME:PATH")
    parser.add_argument("checkpoints", type=Path, nargs="+")
    parser.add_argument("--part", default="validation")
    parser.add_argument("--pretrained", type=Path, help="flow network before it was tuned")
    parser.add_argument("--samples", type=int, default=128)
    parser.add_argument("--picture", nargs=3, metavar=("VIDEO", "FRAME", "FILE"))
    options = parser.parse_args(arguments)
    config = config_from_dict(read_header(options.checkpoints[0]).config)
    estimators: dict[str, FlowEstimator] = {"zero flow": zero_flow, "DIS-fast": dis_estimator()}
    if options.pretrained:
        estimators["before tuning"] = pretrained_estimator(options.pretrained, config)
    estimators |= {str(path): checkpoint_estimator(path) for path in options.checkpoints}

    size = config.input_size
    pairs = list(middle_pairs(load_named_dataset(options.data, 1, options.part), size))
    print(f"{options.samples} procedural and {len(pairs)} real pairs of {size}x{size}")
    print(f"{'end-point px':>16}{'photometric':>13}  flow")
    for row in compare_flow(estimators, procedural_samples(options.samples, size), pairs):
        print(f"{row.end_point_error.mean_px:16.3f}{row.photometric_error:13.2f}  {row.estimator}")
    if options.picture:
        video, frame, file = options.picture
        pair = video_pair(Path(video), int(frame), size)
        write_picture(Path(file), flow_sheet(pair, estimators.values()))


if __name__ == "__main__":
    main()
