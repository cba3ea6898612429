"""Files of YOLOv2 weights, written by the layouts' own rules and without our writers."""

import struct
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np
import torch
from numpy.typing import NDArray

from tests.golden import golden_tensor, reference_json
from tubedet.checkpoints.voc_weights import VocWeights
from tubedet.models.yolov2.darknet19 import Darknet19Stream, DarknetLayout
from tubedet.models.yolov2.prediction_head import PredictionHead, YOLOv2

Arrays = dict[str, NDArray[np.float32]]
NARROW = 1 / 16
SEEN = 12345
HEADER_2016 = struct.pack("<iiii", 0, 1, 0, SEEN)
HEADER_TODAY = struct.pack("<iiiQ", 0, 2, 0, SEEN)
BACKBONE_CONVS = 18  # those of darknet19_448.conv.23 and darknet19.weights.npz


def golden_arrays(layout: DarknetLayout) -> Arrays:
    """The VOC detector of full size by the golden rule, layer by layer, without batch counters."""
    shapes = dict(reference_json("yolo2_darknet19_keys.json")["shapes"])
    order = list(reference_json("yolo2_darknet19_keys.json")["order"])
    if layout == "conv64":
        shapes["conv4.0.conv.weight"] = [1024, 1280, 3, 3]
        shapes["passthrough.conv.weight"] = [64, 512, 1, 1]
        vectors = ["weight", "bias", "running_mean", "running_var"]
        shapes |= {f"passthrough.bn.{vector}": [64] for vector in vectors}
        at = order.index("conv4.0.conv.weight")
        added = ["passthrough.conv.weight", *(f"passthrough.bn.{vector}" for vector in vectors)]
        order[at:at] = added
    return {key: golden_tensor(key, tuple(shapes[key])) for key in order}


def narrow_arrays(layout: DarknetLayout = "direct", width: float = NARROW) -> Arrays:
    """A VOC detector, a sixteenth as wide unless told otherwise, of seeded values."""
    with torch.device("meta"):
        stream = Darknet19Stream(layout=layout, width=width)
        head = PredictionHead(stream.out_channels, num_anchors=5, num_classes=20)
        state = YOLOv2(stream, head).state_dict()
    random = np.random.default_rng(0)
    return {
        name.removeprefix("stream."): random.normal(size=tuple(like.shape)).astype(np.float32)
        for name, like in state.items()
        if not name.endswith("num_batches_tracked")
    }


def voc_detector(weights: VocWeights, width: float = 1.0) -> YOLOv2:
    """The detector of single images that a file's weights were trained as."""
    with torch.device("meta"):
        stream = Darknet19Stream(
            layout=weights.layout, passthrough=weights.passthrough, width=width
        )
        head = PredictionHead(stream.out_channels, num_anchors=5, num_classes=20)
    detector = YOLOv2(stream, head)
    detector.load_state_dict(
        {n if n.startswith("conv5.") else f"stream.{n}": t for n, t in weights.tensors.items()},
        assign=True,
    )
    return detector.eval()


def backbone_of(arrays: Arrays) -> Arrays:
    """The first 18 convolutions with their batch norms."""
    return {name: array for name, array in arrays.items() if name.startswith(("conv1s", "conv2"))}


def layers_of(arrays: Arrays) -> list[str]:
    """Names of the convolution blocks, first to last."""
    return [name.removesuffix(".conv.weight") for name in arrays if name.endswith("conv.weight")]


def write_darknet_file(path: Path, arrays: Arrays, header: bytes = HEADER_TODAY) -> Path:
    """Header, then of each layer shift, scale, mean and variance, then the kernel."""
    with path.open("wb") as file:
        file.write(header)
        for layer in layers_of(arrays):
            if f"{layer}.bn.weight" in arrays:
                entries = ["bn.bias", "bn.weight", "bn.running_mean", "bn.running_var"]
            else:
                entries = ["conv.bias"]
            for entry in (*entries, "conv.weight"):
                file.write(arrays[f"{layer}.{entry}"].tobytes())
    return path


def write_h5_file(path: Path, arrays: Arrays, *, counters: bool = False) -> Path:
    """One dataset a key at the root; since PyTorch 0.4.1 batch counters too."""
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array)
            if counters and name.endswith("running_var"):
                counter = name.replace("running_var", "num_batches_tracked")
                file.create_dataset(counter, data=np.int64(SEEN))
    return path


def npz_arrays(arrays: Arrays) -> dict[str, NDArray[np.float32]]:
    """Under TensorFlow's names, kernels (height, width, in, out)."""
    theirs: dict[str, NDArray[np.float32]] = {}
    for index, layer in enumerate(layers_of(arrays)):
        name = f"{index}-convolutional/"
        theirs[f"{name}kernel:0"] = arrays[f"{layer}.conv.weight"].transpose(2, 3, 1, 0)
        if f"{layer}.bn.weight" not in arrays:
            theirs[f"{name}biases:0"] = arrays[f"{layer}.conv.bias"]
            continue
        theirs[f"{name}gamma:0"] = arrays[f"{layer}.bn.weight"]
        theirs[f"{name}biases:0"] = arrays[f"{layer}.bn.bias"]
        theirs[f"{name}moving_mean:0"] = arrays[f"{layer}.bn.running_mean"]
        theirs[f"{name}moving_variance:0"] = arrays[f"{layer}.bn.running_var"]
    return theirs


def write_npz_file(path: Path, arrays: Arrays, changes: Mapping[str, object] | None = None) -> Path:
    """As numpy.savez does; `changes` replace or add arrays under their names."""
    content = {
        name: np.ascontiguousarray(array) if index % 2 else np.asfortranarray(array)
        for index, (name, array) in enumerate(npz_arrays(arrays).items())
    }
    with path.open("wb") as file:
        np.savez(file, **{**content, **(changes or {})})  # type: ignore[arg-type]
    return path
