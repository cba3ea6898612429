"""Files of full size made by the golden rule give the outputs of the original programs.

OPENCV_4_PYTHON=/path/to/venv/bin/python python -m pytest tests/checkpoints/test_voc_golden.py

runs OpenCV's own importer on the same Darknet files: an interpreter of an environment that holds
`opencv-python-headless<5` and numpy; OpenCV 5 has no Darknet importer.
"""

import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from tests.golden import golden_file, golden_tensor, image
from tests.voc_files import (
    HEADER_2016,
    HEADER_TODAY,
    Arrays,
    backbone_of,
    golden_arrays,
    voc_detector,
    write_darknet_file,
    write_h5_file,
    write_npz_file,
)
from tubedet.checkpoints.darknet_weights import read_darknet
from tubedet.checkpoints.foreign_weights import STREAM_PARTS
from tubedet.checkpoints.native import load_partial
from tubedet.checkpoints.voc_weights import VocWeights
from tubedet.checkpoints.yolo2_pytorch import read_h5, read_npz
from tubedet.cli.app import app
from tubedet.models.yolov2.darknet19 import Darknet19Stream, DarknetLayout
from tubedet.models.yolov2.prediction_head import PredictionHead, YOLOv2

LAYOUTS: list[DarknetLayout] = ["direct", "conv64"]
CONFIGS = {"direct": "yolo-voc-2016", "conv64": "yolov2-voc"}
SIZES = {"direct": 268_632_452, "conv64": 202_704_264}  # as published
OPENCV_4 = os.environ.get("OPENCV_4_PYTHON")
OPENCV_PROGRAM = """
import sys, cv2, numpy
config, weights, image, output = sys.argv[1:]
network = cv2.dnn.readNetFromDarknet(config, weights)
network.setInput(numpy.load(image))
last_convolution = [name for name in network.getLayerNames() if "conv" in name][-1]
numpy.save(output, network.forward(last_convolution))
"""


@pytest.fixture(scope="module")
def direct() -> Iterator[Arrays]:
    arrays = golden_arrays("direct")
    yield arrays
    arrays.clear()


@pytest.fixture(scope="module", params=LAYOUTS)
def darknet_file(
    request: pytest.FixtureRequest, direct: Arrays, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[DarknetLayout, Path]]:
    """The file of 2016 with its header of 16 bytes, and today's with 20."""
    layout: DarknetLayout = request.param
    arrays = direct if layout == "direct" else golden_arrays(layout)
    header = HEADER_2016 if layout == "direct" else HEADER_TODAY
    path = tmp_path_factory.mktemp("darknet") / f"{CONFIGS[layout]}.weights"
    yield layout, write_darknet_file(path, arrays, header)
    path.unlink()


@torch.inference_mode()
def head_of(detector: YOLOv2) -> Tensor:
    head: Tensor = detector(image())
    return head


def imported_streams(file: Path, *options: str) -> Iterator[Darknet19Stream]:
    """Both streams of what `tubedet weights import` makes of a file; parts left out are random."""
    start = file.with_name("start.safetensors")
    command = ["weights", "import", str(file), "--preset", "brox", "-o", str(start), *options]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    tensors, header = load_partial(start)
    start.unlink()
    for part in STREAM_PARTS:
        stream = Darknet19Stream(
            layout=header.config["darknet_layout"], passthrough=header.config["passthrough"]
        )
        own = {n.removeprefix(f"{part}."): t for n, t in tensors.items() if n.startswith(part)}
        stream.load_state_dict(own, strict=not options)
        yield stream.eval()


def with_golden_head(stream: Darknet19Stream) -> YOLOv2:
    head = PredictionHead(stream.out_channels, num_anchors=5, num_classes=20)
    shapes = {name: tuple(tensor.shape) for name, tensor in head.state_dict().items()}
    arrays = {name: golden_tensor(f"conv5.{name}", shape) for name, shape in shapes.items()}
    head.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
    return YOLOv2(stream, head).eval()


def activations_of(detector: YOLOv2, parts: tuple[str, ...]) -> tuple[Tensor, dict[str, Tensor]]:
    """The raw head, and every 16th channel behind parts of the stream."""
    seen: dict[str, Tensor] = {}
    for part in parts:
        detector.stream.get_submodule(part).register_forward_hook(
            lambda _module, _inputs, output, part=part: seen.update({part: output[:, ::16]})
        )
    return head_of(detector), seen


def require_golden(activations: Mapping[str, Tensor]) -> None:
    for part, found in activations.items():
        assert largest_difference(found, "darknet19_yolo2pytorch", part) < 1e-3, part


def largest_difference(found: Tensor, golden: str, key: str) -> float:
    with golden_file(golden) as arrays:
        return (found - torch.from_numpy(arrays[key])).abs().max().item()


def test_darknets_file_gives_opencvs_head(darknet_file: tuple[DarknetLayout, Path]) -> None:
    layout, path = darknet_file
    assert path.stat().st_size == SIZES[layout]
    weights = read_darknet(path)
    assert weights.layout == layout
    head = head_of(voc_detector(weights))
    # OpenCV adds batch norm's epsilon elsewhere: 3e-4 of the difference is that.
    assert largest_difference(head, "darknet19_cv2", f"{CONFIGS[layout]}_head") < 2e-3
    if layout == "direct":
        key = "head_darknet_reorg_torch"
        assert largest_difference(head, "darknet19_yolo2pytorch", key) < 1e-3

    for stream in imported_streams(path):
        found, activations = activations_of(with_golden_head(stream), ("conv1s", "conv3"))
        torch.testing.assert_close(found, head, rtol=0, atol=1e-5)
        require_golden(activations)  # before the folded channels, the layouts are one network


def test_the_backbone_alone_gives_its_activations(direct: Arrays, tmp_path: Path) -> None:
    path = tmp_path / "darknet19_448.conv.23"
    write_darknet_file(path, backbone_of(direct), HEADER_2016)
    assert path.stat().st_size == 79_327_120  # as published
    for stream in imported_streams(path, "--allow-random"):
        with torch.inference_mode():
            require_golden({"conv1s": stream.conv1s(image())[:, ::16]})
    path.unlink()


@pytest.mark.skipif(not OPENCV_4, reason="OPENCV_4_PYTHON names no interpreter with OpenCV 4")
def test_opencvs_importer_reads_the_same_from_the_same_file(
    darknet_file: tuple[DarknetLayout, Path], tmp_path: Path
) -> None:
    layout, path = darknet_file
    config = tmp_path / "net.cfg"
    config.write_text(darknet_config(layout))
    np.save(tmp_path / "image.npy", image().numpy())
    names = [str(tmp_path / name) for name in ("net.cfg", "image.npy", "head.npy")]
    command = [str(OPENCV_4), "-c", OPENCV_PROGRAM, names[0], str(path), *names[1:]]
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    theirs = torch.from_numpy(np.load(names[2]))
    assert (head_of(voc_detector(read_darknet(path))) - theirs).abs().max() < 2e-3


@pytest.mark.parametrize("form", ["h5", "npz"])
def test_yolo2_pytorchs_files_give_its_activations_and_head(
    form: str, direct: Arrays, tmp_path: Path
) -> None:
    path = tmp_path / f"yolo-voc.weights.{form}"
    weights: VocWeights
    if form == "h5":
        weights = read_h5(write_h5_file(path, direct))
    else:
        weights = read_npz(write_npz_file(path, direct))
    parts = ("conv1s", "conv3", "conv4")
    for detector in (voc_detector(weights), *map(with_golden_head, imported_streams(path))):
        head, activations = activations_of(detector, parts)
        assert largest_difference(head, "darknet19_yolo2pytorch", "head") < 1e-3
        assert tuple(activations) == parts
        require_golden(activations)
    path.unlink()


def darknet_config(layout: DarknetLayout) -> str:
    """The layers of the two published .cfg files, without what only training reads."""
    pool = "[maxpool]\nsize=2\nstride=2\n"
    blocks = ["[net]\nwidth=160\nheight=160\nchannels=3\n"]

    def conv(filters: int, size: int) -> str:
        return (
            f"[convolutional]\nbatch_normalize=1\nfilters={filters}\nsize={size}\nstride=1\n"
            "pad=1\nactivation=leaky\n"
        )

    stages: list[list[tuple[int, int]]] = [
        [(32, 3)],
        [(64, 3)],
        [(128, 3), (64, 1), (128, 3)],
        [(256, 3), (128, 1), (256, 3)],
        [(512, 3), (256, 1), (512, 3), (256, 1), (512, 3)],
        [(1024, 3), (512, 1), (1024, 3), (512, 1), (1024, 3), (1024, 3), (1024, 3)],
    ]
    for index, stage in enumerate(stages):
        blocks += [pool] * (index > 0) + [conv(*spec) for spec in stage]
    blocks.append("[route]\nlayers=-9\n")
    blocks += [conv(64, 1)] * (layout == "conv64")
    blocks.append("[reorg]\nstride=2\n")
    blocks.append(f"[route]\nlayers=-1,{-3 - (layout == 'conv64')}\n")
    blocks.append(conv(1024, 3))
    blocks.append("[convolutional]\nsize=1\nstride=1\npad=1\nfilters=125\nactivation=linear\n")
    return "\n".join(blocks)
