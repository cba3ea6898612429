import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.voc_files import (
    HEADER_2016,
    HEADER_TODAY,
    NARROW,
    SEEN,
    Arrays,
    backbone_of,
    narrow_arrays,
    write_darknet_file,
)
from tubedet.checkpoints.darknet_weights import read_darknet, write_darknet
from tubedet.checkpoints.voc_weights import VocWeights
from tubedet.errors import WeightsError
from tubedet.models.yolov2.darknet19 import DarknetLayout

LAYOUTS: list[DarknetLayout] = ["direct", "conv64"]


@pytest.fixture(scope="module")
def arrays() -> Arrays:
    return narrow_arrays()


def complaint(path: Path) -> str:
    with pytest.raises(WeightsError) as failure:
        read_darknet(path, NARROW)
    message = str(failure.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


def assert_holds(weights: VocWeights, arrays: Arrays) -> None:
    counter = "num_batches_tracked"
    learned = {name: t for name, t in weights.tensors.items() if not name.endswith(counter)}
    assert learned.keys() == arrays.keys()
    assert all(np.array_equal(learned[name].numpy(), array) for name, array in arrays.items())


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("header", [HEADER_2016, HEADER_TODAY], ids=["16 bytes", "20 bytes"])
def test_the_layout_is_told_by_the_length_with_either_header(
    layout: DarknetLayout, header: bytes, tmp_path: Path
) -> None:
    arrays = narrow_arrays(layout)
    weights = read_darknet(write_darknet_file(tmp_path / "w", arrays, header), NARROW)
    assert (weights.layout, weights.passthrough) == (layout, "darknet")
    assert_holds(weights, arrays)


def test_the_backbone_alone_is_18_convolutions_and_has_no_order(
    arrays: Arrays, tmp_path: Path
) -> None:
    backbone = backbone_of(arrays)
    assert sum(name.endswith("conv.weight") for name in backbone) == 18
    weights = read_darknet(write_darknet_file(tmp_path / "w", backbone, HEADER_2016), NARROW)
    assert weights.passthrough == "space_to_depth"
    assert_holds(weights, backbone)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("content", ["whole", "stream", "backbone"])
def test_what_was_read_is_written_byte_for_byte(
    layout: DarknetLayout, content: str, tmp_path: Path
) -> None:
    arrays = narrow_arrays(layout)
    if content == "backbone":
        arrays = backbone_of(arrays)
    elif content == "stream":
        arrays = {name: array for name, array in arrays.items() if not name.startswith("conv5")}
    source = write_darknet_file(tmp_path / "in", arrays, struct.pack("<iiiQ", 0, 2, 0, 0))
    write_darknet(tmp_path / "out", read_darknet(source, NARROW).tensors)
    assert (tmp_path / "out").read_bytes() == source.read_bytes()


@pytest.mark.parametrize("change", [-4, -1, 1, 4])
def test_a_file_that_is_a_little_too_long_or_short_is_refused(
    change: int, arrays: Arrays, tmp_path: Path
) -> None:
    path = write_darknet_file(tmp_path / "w", arrays)
    content = path.read_bytes()
    path.write_bytes(content[:change] if change < 0 else content + b"\0" * change)
    assert f"{len(content) + change} bytes instead of" in complaint(path)


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (struct.pack("<iiii", 0, 2, 0, SEEN), "bytes instead of"),  # 20 bytes belong to 0.2
        (struct.pack("<iiiQ", 0, 1, 0, SEEN), "bytes instead of"),
        (struct.pack("<iiiQ", 0, 3, 0, SEEN), "version 0.3.0"),
        (struct.pack("<iiiQ", 1 << 30, -1, 0, SEEN), "version 1073741824.-1.0"),
        (b"", "version"),
    ],
)
def test_a_header_of_another_version_or_length_is_refused(
    header: bytes, found: str, arrays: Arrays, tmp_path: Path
) -> None:
    assert found in complaint(write_darknet_file(tmp_path / "w", arrays, header))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_every_tensor_that_is_not_finite_is_named(
    value: float, arrays: Arrays, tmp_path: Path
) -> None:
    bad = {name: arrays[name].copy() for name in ("conv2.1.bn.running_var", "conv5.conv.bias")}
    for array in bad.values():
        array[1] = value
    message = complaint(write_darknet_file(tmp_path / "w", {**arrays, **bad}))
    assert "in conv2.1.bn.running_var, conv5.conv.bias;" in message


def test_an_absent_an_empty_and_a_short_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "short").write_bytes(HEADER_TODAY)
    assert "No such file" in complaint(tmp_path / "absent")
    assert "found 0 bytes" in complaint(tmp_path / "empty")
    assert "20 bytes instead of" in complaint(tmp_path / "short")


def test_batch_counters_begin_at_zero(arrays: Arrays, tmp_path: Path) -> None:
    tensors = read_darknet(write_darknet_file(tmp_path / "w", arrays), NARROW).tensors
    counters = [tensor for name, tensor in tensors.items() if name.endswith("batches_tracked")]
    assert len(counters) == 21
    assert all(torch.equal(counter, torch.tensor(0)) for counter in counters)
