"""`tubedet weights import` and `export`: published weights in and out."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from tubedet.cli.console import complain, say
from tubedet.cli.output_file import Output, Overwrite, refuse_existing
from tubedet.cli.train_options import Debug


class Order(StrEnum):
    """Orders of the passthrough's folded channels."""

    SPACE_TO_DEPTH = "space_to_depth"
    DARKNET = "darknet"


class Part(StrEnum):
    """What can be written in a layout of its own."""

    FLOW = "flow"
    RGB = "rgb"
    MOTION = "motion"


def import_(
    files: Annotated[list[Path], Argument(metavar="FILE", show_default=False)],
    *,
    preset: Annotated[
        str,
        Option(help="The network: flownet2, flownet2-css, flownet2-sd, brox.", show_default=False),
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
        Option(help="Order of the folded channels, if not that of the file's own program."),
    ] = None,
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> None:
    """Turn published weights into a checkpoint to train from.

    FILE is NVIDIA's FlowNet2, -CSS, -CSS-ft-sd or -SD _checkpoint.pth.tar for
    the flow network, and Darknet's .weights (YOLOv2-VOC of 2016 or today's,
    darknet19_448.conv.23) or yolo2-pytorch's .h5 or .npz for both streams.

    The result has no fused head and no classes: tubedet train --init makes
    them for the classes of its data. No tensor of a part that is left out is
    in it, and `weights show` names these parts.
    """
    from tubedet.checkpoints.foreign_weights import import_weights
    from tubedet.checkpoints.native import save_checkpoint

    refuse_existing(output, overwrite)
    imported = import_weights(
        files,
        preset,
        allow_random=allow_random,
        passthrough=None if passthrough is None else passthrough.value,
    )
    save_checkpoint(output, imported.network, imported.header)
    for file in imported.files:
        known = file.known_as or "not a file known to tubedet; compare it with your source's"
        say(f"{file.path}: SHA-256 {file.sha256}, {known}")
    say(f"{output}: without {', '.join(imported.header.missing)}")
    say(f"train first: tubedet train --preset {preset} --init {output} …")


def export(
    weights: Annotated[str, Argument(help="A checkpoint, or a name of `weights list`.")],
    *,
    part: Annotated[Part, Option(help="What to write.", show_default=False)],
    output: Output,
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> None:
    """Write the flow network as NVIDIA's .pth.tar, or a stream as Darknet's .weights.

    A stream is written without a head, as `darknet partial` does; of imported
    weights that are but a backbone, the backbone.
    """
    from tubedet.checkpoints.catalog import resolve_weights
    from tubedet.checkpoints.foreign_exports import export_flow, export_stream

    refuse_existing(output, overwrite)
    path = resolve_weights(weights)
    if part is Part.FLOW:
        export_flow(path, output)
    elif export_stream(path, f"{part}_stream", output) == "space_to_depth":
        complain(f"{output}: trained with space_to_depth, Darknet folds its passthrough otherwise")
    say(str(output))
