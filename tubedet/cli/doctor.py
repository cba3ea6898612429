"""`tubedet doctor`: what this installation consists of, and whether it can do its work."""

import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tubedet.cli.console import show_table
from tubedet.cli.weights import describe_checkpoint

LIBRARIES = (
    "torch",
    "numpy",
    "opencv-python-headless",
    "av",
    "pandas",
    "safetensors",
    "onnxruntime",
)


def doctor() -> None:
    """Show versions, devices, codecs, and the weights with their hashes."""
    show_table(("", ""), [*_software(), *_devices(), *_codecs(), *_weights()])


def _software() -> Iterator[tuple[str, str]]:
    from tubedet import __version__

    yield "tubedet", f"{__version__} in {Path(__file__).parents[1]}"
    yield "Python", f"{platform.python_version()} in {sys.prefix}, {platform.platform()}"
    for library in LIBRARIES:
        yield library, _version_of(library)


def _version_of(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:  # it may be there under another name, as opencv-python
        return "not found"


def _devices() -> Iterator[tuple[str, str]]:
    import torch

    from tubedet.runtime.torch import pick_device, pick_precision

    yield "cpu", f"{platform.machine()}, {torch.get_num_threads()} threads"
    for index in range(torch.cuda.device_count()):
        yield f"cuda:{index}", torch.cuda.get_device_name(index)
    if torch.backends.mps.is_available():
        yield "mps", "Apple GPU"
    device = pick_device("auto")
    precision = pick_precision("auto", device)
    yield "--device auto", f"{device}, where the paper's presets run in {precision}"
    yield "--runtime auto", _runtime(device.type)


def _runtime(device: str) -> str:
    """What runs `light` on a device, and why."""
    from tubedet.runtime.onnx_graphs import can_write_and_run

    if device != "cpu":
        return "torch, which runs on this device"
    if can_write_and_run():
        return "onnx for light, which is quicker on a CPU; torch for the paper's presets"
    return "torch; onnx is quicker for light on a CPU: pip install 'tubedet[onnx]'"


def _codecs() -> Iterator[tuple[str, str]]:
    from tubedet.video.codecs import codecs, ffmpeg_version

    yield "FFmpeg", ffmpeg_version()
    for way, names in codecs().items():
        yield f"FFmpeg {way}", names


def _weights() -> Iterator[tuple[str, str]]:
    from tubedet.checkpoints.catalog import catalog

    for entry in catalog():
        yield f"weights {entry.name}", ", ".join(filter(None, describe_checkpoint(entry.path)))
