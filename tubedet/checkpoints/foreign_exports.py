"""Parts of a checkpoint in the layouts of the programs that they came from."""

from pathlib import Path

from tubedet.checkpoints.darknet_weights import write_darknet
from tubedet.checkpoints.flownet2_nvidia import write_flownet2
from tubedet.checkpoints.native import ANY_HEAD, load_flow, load_partial
from tubedet.checkpoints.voc_weights import is_of_backbone
from tubedet.errors import WeightsError
from tubedet.models.presets import PaperConfig, config_from_dict
from tubedet.models.yolov2.passthrough import PassthroughOrder


def export_flow(checkpoint: Path, output: Path) -> None:
    """Write a checkpoint's flow network in NVIDIA's layout.

    Raises:
        WeightsError: if the checkpoint cannot be read or has none.
        OutputError: if the file cannot be written.
    """
    write_flownet2(output, load_flow(checkpoint)[0])


def export_stream(checkpoint: Path, part: str, output: Path) -> PassthroughOrder | None:
    """Write one stream, or the backbone if there is no more, in Darknet's layout, without a head.

    Args:
        checkpoint: whole or partial.
        part: `rgb_stream` or `motion_stream`.
        output: the `.weights` file.

    Returns:
        The passthrough's order that the stream was trained with, None if it ends before it.
        Darknet itself runs "darknet".

    Raises:
        WeightsError: if the checkpoint cannot be read, or has no such stream of Darknet-19.
        OutputError: if the file cannot be written.
    """
    tensors, header = load_partial(checkpoint)
    prefix = f"{part}."
    stream = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
    config = config_from_dict({**header.config, **ANY_HEAD})
    if not isinstance(config, PaperConfig) or not stream:
        raise WeightsError(f"{checkpoint}: expected a {part} of Darknet-19, found none")
    is_backbone = any(absent.startswith(prefix) for absent in header.missing)
    if is_backbone:
        stream = {n: t for n, t in stream.items() if is_of_backbone(n)}
    write_darknet(output, stream)
    return None if is_backbone else config.passthrough
