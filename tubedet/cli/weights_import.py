"""`tubedet weights import` and `export`: published weights in and out."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from tubedet.cli.console import complain, say
from tubedet.cli.output_file import Output, Overwrite, refuse_existing
from tubedet.cli.train_options import Debug
from tubedet.errors import UsageError

if TYPE_CHECKING:
    from torch import nn


class Order(StrEnum):
    """Orders of the passthrough's folded channels."""

    SPACE_TO_DEPTH = "space_to_depth"
    DARKNET = "darknet"


class Part(StrEnum):
    """What can be written in a layout of its own."""

    FLOW = "flow"
    RGB = "rgb"
    MOTION = "motion"


class Target(StrEnum):
    """What a whole detector can be written for."""

    ONNX = "onnx"


def import_(
    files: Annotated[list[Path], Argument(metavar="FILE", show_default=False)],
    *,
    preset: Annotated[
        str,
        Option(
            help="The network: flownet2, flownet2-css, flownet2-sd, brox, light.",
            show_default=False,
        ),
    ],
    output: Output,
    allow_random: Annotated[
        bool,
        Option(
            "--allow-random",
            help="Leave out parts that no FILE is for: training begins there at random.",
        ),
    ] = False,
    passthrough: Annotated[
        Order | None,
        Option(
            help="Order of the folded channels, instead of that of the file's own program: darknet "
            "for .weights, space_to_depth for .h5 and .npz. The paper's is space_to_depth."
        ),
    ] = None,
    sd_scale: Annotated[
        float | None,
        Option(
            help="What FlowNet2-SD's output is multiplied by to be in px: 20 in NVIDIA's class of "
            "that name (the default), 0.05 where FlowNet2 contains it.",
            show_default=False,
        ),
    ] = None,
    align_corners: Annotated[
        bool,
        Option(
            "--align-corners",
            help="Upsample flow as PyTorch did before 0.4, in the paper's time.",
        ),
    ] = False,
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> None:
    """Turn published weights into a checkpoint to train from.

    FILE is NVIDIA's FlowNet2, -CSS, -CSS-ft-sd or -SD _checkpoint.pth.tar for
    the flow network, and Darknet's .weights (YOLOv2-VOC of 2016 or today's,
    darknet19_448.conv.23) or yolo2-pytorch's .h5 or .npz for both streams; for
    light it is MoViNet-A0-Stream for TensorFlow Lite (Kinetics-600, int8).

    The result has no fused head and no classes: tubedet train --init makes
    them for the classes of its data. No tensor of a part that is left out is
    in it, and `weights show` names these parts.

    Of a flow network, the flow is printed that it finds in a picture moved by
    2 px: if that is far off, so is --sd-scale, or the file is another.
    """
    from tubedet.checkpoints.foreign_weights import import_weights
    from tubedet.checkpoints.native import save_checkpoint

    refuse_existing(output, overwrite)
    imported = import_weights(
        files,
        preset,
        allow_random=allow_random,
        passthrough=None if passthrough is None else passthrough.value,
        sd_scale=sd_scale,
        align_corners=align_corners,
    )
    save_checkpoint(output, imported.network, imported.header)
    for file in imported.files:
        known = file.known_as or "not a file known to tubedet; compare it with your source's"
        say(f"{file.path}: SHA-256 {file.sha256}, {known}")
    if imported.flow is not None:
        _say_flow_of_known_shift(imported.flow, output, preset)
    say(f"{output}: without {', '.join(imported.header.missing)}")
    begin = "--video-backbone" if preset == "light" else f"--preset {preset} --init"
    say(f"train first: tubedet train {begin} {output} …")


def _say_flow_of_known_shift(flow: "nn.Module", output: Path, preset: str) -> None:
    from tubedet.checkpoints.known_shift import SHIFT_PX, flow_of_known_shift

    answer = flow_of_known_shift(flow)
    say(
        f"flow of a picture moved {SHIFT_PX} px to the right: u {answer.u:.2f}, "
        f"v {answer.v:.2f} px (expected {SHIFT_PX:.2f}, 0.00)"
    )
    if not answer.is_right:
        points_right = preset == "flownet2-sd" and answer.u > 4 * abs(answer.v)
        remedy = "give another --sd-scale (20 or 0.05), or " if points_right else ""
        complain(f"{output}: its flow is far off; {remedy}compare the file with its source's")


def export(
    weights: Annotated[str, Argument(help="A checkpoint, or a name of `weights list`.")],
    *,
    part: Annotated[
        Part | None, Option(help="Write this part in its ancestors' layout.", show_default=False)
    ] = None,
    to: Annotated[
        Target | None, Option(help="Write the whole detector for others.", show_default=False)
    ] = None,
    output: Annotated[
        Path,
        Option("--output", "-o", help="The file, or folder of graphs.", show_default=False),
    ],
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> None:
    """Write the flow network as NVIDIA's .pth.tar, a stream as Darknet's .weights, or ONNX.

    A stream is written without a head, as `darknet partial` does; of imported
    weights that are but a backbone, the backbone.

    --to onnx writes a folder of graphs, which run without tubedet and without
    PyTorch: examples/run_onnx.py. It needs the extra onnx of the package.
    """
    from tubedet.checkpoints.catalog import resolve_weights
    from tubedet.checkpoints.foreign_exports import export_flow, export_stream

    if (part is None) == (to is None):
        raise UsageError("export: give either --part flow, rgb or motion, or --to onnx")
    refuse_existing(output, overwrite)
    path = resolve_weights(weights)
    if to is not None:
        from tubedet.pipeline import export_graphs

        for graph in export_graphs(path, output):
            say(str(graph))
        return
    if part is Part.FLOW:
        export_flow(path, output)
    elif export_stream(path, f"{part}_stream", output) == "space_to_depth":
        complain(f"{output}: trained with space_to_depth, Darknet folds its passthrough otherwise")
    say(str(output))
