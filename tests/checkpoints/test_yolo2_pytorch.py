"""yolo2-pytorch's `.h5` and `.npz`: what is read of them, and what is refused."""

import io
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from tests.voc_files import (
    NARROW,
    SEEN,
    Arrays,
    backbone_of,
    narrow_arrays,
    write_h5_file,
    write_npz_file,
)
from tubedet.checkpoints.voc_weights import VocWeights
from tubedet.checkpoints.yolo2_pytorch import read_h5, read_npz
from tubedet.errors import UsageError, WeightsError

FIRST = "conv1s.0.0.conv.weight"


@pytest.fixture(scope="module")
def arrays() -> Arrays:
    return narrow_arrays()


def complaint(read: Callable[[Path, float], VocWeights], path: Path) -> str:
    with pytest.raises(WeightsError) as failure:
        read(path, NARROW)
    message = str(failure.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


def assert_holds(weights: VocWeights, arrays: Arrays) -> None:
    counter = "num_batches_tracked"
    learned = {name: t for name, t in weights.tensors.items() if not name.endswith(counter)}
    assert learned.keys() == arrays.keys()
    assert all(np.array_equal(learned[name].numpy(), array) for name, array in arrays.items())
    assert (weights.layout, weights.passthrough) == ("direct", "space_to_depth")


@pytest.mark.parametrize("counters", [False, True])
def test_h5_is_read_with_and_without_batch_counters(
    counters: bool, arrays: Arrays, tmp_path: Path
) -> None:
    weights = read_h5(write_h5_file(tmp_path / "w", arrays, counters=counters), NARROW)
    assert_holds(weights, arrays)
    found = weights.tensors["conv2.1.bn.num_batches_tracked"]
    assert torch.equal(found, torch.tensor(SEEN if counters else 0))


def test_npz_is_read_whole_or_as_a_backbone(arrays: Arrays, tmp_path: Path) -> None:
    assert_holds(read_npz(write_npz_file(tmp_path / "w", arrays), NARROW), arrays)
    backbone = read_npz(write_npz_file(tmp_path / "b", backbone_of(arrays)), NARROW)
    assert_holds(backbone, backbone_of(arrays))
    assert len([name for name in backbone.tensors if name.endswith("tracked")]) == 18


def test_a_compressed_npz_is_read(arrays: Arrays, tmp_path: Path) -> None:
    plain = write_npz_file(tmp_path / "plain", arrays)
    with np.load(plain) as content, (tmp_path / "w").open("wb") as file:
        np.savez_compressed(file, **content)
    assert_holds(read_npz(tmp_path / "w", NARROW), arrays)


def test_h5_without_h5py_says_what_to_install(
    arrays: Arrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_h5_file(tmp_path / "w", arrays)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(UsageError, match=r"\.h5 files need h5py: pip install 'tubedet\[h5\]'$"):
        read_h5(path)


def test_every_name_and_shape_of_an_h5_that_does_not_fit_is_listed(
    arrays: Arrays, tmp_path: Path
) -> None:
    changed = {**arrays, "extra": np.zeros(1, np.float32), FIRST: np.zeros((2, 3, 5, 5), "f4")}
    del changed["conv3.0.bn.bias"], changed["conv5.conv.bias"]
    message = complaint(read_h5, write_h5_file(tmp_path / "w", changed))
    assert "2 missing (conv3.0.bn.bias, conv5.conv.bias)" in message
    assert "1 unexpected (extra)" in message
    assert f"1 of wrong shape ({FIRST} is (2, 3, 5, 5), not (2, 3, 3, 3))" in message


def test_datasets_that_are_links_compressed_or_of_another_kind_are_refused(
    arrays: Arrays, tmp_path: Path
) -> None:
    kernel = arrays[FIRST]
    (tmp_path / "secret").write_bytes(kernel.tobytes())
    changes: dict[str, Callable[[h5py.File], object]] = {
        "a link": lambda file: file.__setitem__(FIRST, h5py.ExternalLink("secret", "/x")),
        "no plain dataset": lambda file: file.create_group(FIRST),
        f"no plain dataset in '{FIRST}'": lambda file: file.create_dataset(
            FIRST, data=kernel, compression="gzip"
        ),
        "float64": lambda file: file.create_dataset(FIRST, data=kernel.astype("f8")),
        "0 bytes": lambda file: file.create_dataset(FIRST, shape=kernel.shape, dtype="f4"),
    }
    for found, change in changes.items():
        path = write_h5_file(tmp_path / "w", arrays)
        with h5py.File(path, "a") as file:
            del file[FIRST]
            change(file)
        assert found in complaint(read_h5, path)


def test_an_npz_with_wrong_names_or_shapes_is_refused(arrays: Arrays, tmp_path: Path) -> None:
    name = "3-convolutional/gamma:0"
    extra = write_npz_file(tmp_path / "extra", arrays, {"more": np.zeros(1)})
    assert "1 unexpected (more.npy)" in complaint(read_npz, extra)
    shape = write_npz_file(tmp_path / "shape", arrays, {name: np.zeros(5, np.float32)})
    assert "an array of float32, shape (5,), not float32, (4,)" in complaint(read_npz, shape)
    double = write_npz_file(tmp_path / "double", arrays, {name: np.zeros(4)})
    assert "an array of float64" in complaint(read_npz, double)


def test_an_npz_with_a_pickle_in_it_is_refused_and_not_run(arrays: Arrays, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (tmp_path / "exploded",)

    bomb = np.array([Bomb()] * 4, dtype=object)
    path = write_npz_file(tmp_path / "w", arrays, {"3-convolutional/gamma:0": bomb})
    assert "an array of object" in complaint(read_npz, path)
    assert not (tmp_path / "exploded").exists()


def test_an_npz_that_unpacks_to_more_than_its_array_is_refused(
    arrays: Arrays, tmp_path: Path
) -> None:
    whole = write_npz_file(tmp_path / "w", arrays)
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(tmp_path / "bomb", "w") as target:
        for member in source.infolist():
            is_bomb = member.filename == "0-convolutional/kernel:0.npy"
            content = source.read(member) + bytes(1 << 24) * is_bomb
            target.writestr(member.filename, content, zipfile.ZIP_DEFLATED)
    # A header of 128 bytes, and the 2 kernels of 3x3x3 numbers that the narrow network has there.
    assert "16777560 bytes in '0-convolutional/kernel:0.npy', not 344" in complaint(
        read_npz, tmp_path / "bomb"
    )


def test_an_npz_whose_header_claims_more_than_the_network_has_is_refused_unread(
    arrays: Arrays, tmp_path: Path
) -> None:
    whole = write_npz_file(tmp_path / "w", arrays)
    header = io.BytesIO()
    claim = {"descr": "<f4", "fortran_order": False, "shape": (1 << 40,)}
    np.lib.format.write_array_header_1_0(header, claim)
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(tmp_path / "bold", "w") as target:
        for member in source.infolist():
            is_bold = member.filename == "3-convolutional/gamma:0.npy"
            target.writestr(member.filename, header.getvalue() if is_bold else source.read(member))
    assert "shape (1099511627776,), not float32, (4,)" in complaint(read_npz, tmp_path / "bold")


@pytest.mark.parametrize("read", [read_h5, read_npz])
@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 and no more", b"\x89HDF\r\n\x1a\n"])
def test_a_file_of_another_kind_is_refused(
    read: Callable[[Path, float], VocWeights], content: bytes | None, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "w").write_bytes(content)
    assert "expected YOLOv2 weights as ." in complaint(read, tmp_path / "w")


@pytest.mark.parametrize("form", ["h5", "npz"])
def test_values_that_are_not_finite_are_refused_by_name(
    form: str, arrays: Arrays, tmp_path: Path
) -> None:
    bad = {**arrays, "conv5.conv.bias": np.full(125, np.nan, np.float32)}
    if form == "h5":
        message = complaint(read_h5, write_h5_file(tmp_path / "w", bad))
    else:
        message = complaint(read_npz, write_npz_file(tmp_path / "w", bad))
    assert "infinite values in conv5.conv.bias" in message
