"""Mutants of published layouts: an error in one line, or exactly the values that the file stores.

A thousand of each narrow twin, and ten of full size with the most memory that a refusal took (some
minutes and 4 GB of disk):

MUTANTS=1000 FULL_SIZE_MUTANTS=10 python -m pytest tests/checkpoints/test_damaged_foreign_weights.py
"""

import os
import pickle
import random
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tests.voc_files import (
    HEADER_2016,
    NARROW,
    Arrays,
    backbone_of,
    narrow_arrays,
    npz_arrays,
    write_darknet_file,
    write_h5_file,
    write_npz_file,
)
from tubedet.checkpoints.darknet_weights import read_darknet
from tubedet.checkpoints.flownet2_nvidia import read_flownet2
from tubedet.checkpoints.voc_weights import VocWeights
from tubedet.checkpoints.yolo2_pytorch_h5 import read_h5
from tubedet.checkpoints.yolo2_pytorch_npz import read_npz
from tubedet.errors import WeightsError
from tubedet.models.flownet2.stacks import FlowNet2SD

MUTANTS = int(os.environ.get("MUTANTS", "200"))
FULL_SIZE_MUTANTS = int(os.environ.get("FULL_SIZE_MUTANTS", "0"))
MOST_MEMORY = 2 << 30
BOLD_NUMBERS = [1 << 31, (1 << 31) - 1, (1 << 62), (1 << 64) - 1, 0, 1]
FORMS = ["pth legacy", "pth zip", "darknet", "darknet conv64", "darknet backbone", "h5", "npz"]
Read = Callable[[Path], dict[str, Tensor]]


@dataclass
class Form:
    """A file of some layout: how it is read, and where the numbers of each tensor lie in it."""

    path: Path
    read: Read
    places: dict[str, tuple[int, tuple[int, ...], str]]  # offset, shape, order in the file

    def stored(self, path: Path, content: bytes, name: str, shift: int) -> NDArray[np.float32]:
        """The numbers that a mutant's bytes hold in the place of a tensor."""
        if self.path.name == "h5":  # which says itself where they lie
            with h5py.File(path) as file:
                values: NDArray[np.float32] = file[name][()]
                return values
        offset, shape, order = self.places[name]
        start, count = max(0, offset + shift), int(np.prod(shape))
        if start + 4 * count > len(content):
            return np.empty(0, np.float32)
        values = np.frombuffer(content, "<f4", count, start)
        array = values.reshape(shape, order="F" if order == "F" else "C")
        is_npz_kernel = order in "CF" and len(shape) == 4
        return array.transpose(3, 2, 0, 1) if is_npz_kernel else array


def find_places(content: bytes, arrays: Arrays) -> dict[str, tuple[int, tuple[int, ...], str]]:
    """Of tensors in row-major order and in our shape."""
    places = {n: (content.find(a.tobytes()), a.shape, "ours") for n, a in arrays.items()}
    assert all(offset >= 0 for offset, *_ in places.values())
    return places


def find_npz_places(content: bytes, arrays: Arrays) -> dict[str, tuple[int, tuple[int, ...], str]]:
    """Of TensorFlow's arrays, every other one column by column."""
    places = {}
    ours = {array.tobytes(): name for name, array in arrays.items()}
    for theirs in npz_arrays(arrays).values():
        plain = theirs.transpose(3, 2, 0, 1) if theirs.ndim == 4 else theirs
        for order in ("C", "F"):
            at = content.find(theirs.tobytes(order="F" if order == "F" else "C"))
            if at >= 0:
                places[ours[plain.tobytes()]] = (at, theirs.shape, order)
    return places


def of_voc(read: Callable[[Path, float], VocWeights], width: float) -> Read:
    def read_all(path: Path) -> dict[str, Tensor]:
        weights = read(path, width)
        return {**weights.stream, **{f"conv5.{name}": t for name, t in weights.head.items()}}

    return read_all


def make(form: str, folder: Path, width: float = NARROW) -> Form:
    path = folder / form.replace(" ", "_")
    if form.startswith("pth"):
        torch.manual_seed(2)
        network: nn.Module = FlowNet2SD(width=width)
        expected = network.state_dict()
        zipped = form == "pth zip"
        # Biases begin at zero, and zeros are found anywhere.
        for tensor in expected.values():
            tensor.normal_()
        torch.save({"state_dict": expected}, path, _use_new_zipfile_serialization=zipped)
        arrays = {name: tensor.numpy() for name, tensor in expected.items()}
        outline = {name: tensor.to("meta") for name, tensor in expected.items()}
        content = path.read_bytes()
        return Form(
            path, lambda p: read_flownet2(p, outline, "FlowNet2-SD"), find_places(content, arrays)
        )
    arrays = narrow_arrays("conv64" if form == "darknet conv64" else "direct", width=width)
    if form == "darknet backbone":
        arrays = backbone_of(arrays)
    if form == "npz":
        content = write_npz_file(path, arrays).read_bytes()
        return Form(path, of_voc(read_npz, width), find_npz_places(content, arrays))
    if form == "h5":
        content = write_h5_file(path, arrays).read_bytes()
        return Form(path, of_voc(read_h5, width), find_places(content, arrays))
    header = {"header": HEADER_2016} if form == "darknet backbone" else {}
    content = write_darknet_file(path, arrays, **header).read_bytes()
    return Form(path, of_voc(read_darknet, width), find_places(content, arrays))


def mutate(content: bytes, outside: list[int], chance: random.Random) -> bytes:
    """A damaged copy; `outside` are places of bytes that belong to no tensor."""
    damaged = bytearray(content)
    match chance.randrange(5):
        case 0:
            del damaged[chance.randrange(len(damaged)) :]
        case 1:
            for _ in range(chance.randint(1, 8)):
                damaged[chance.randrange(len(damaged))] ^= chance.randint(1, 255)
        case 2:
            for _ in range(chance.randint(1, 4)):
                damaged[chance.choice(outside)] ^= chance.randint(1, 255)
        case 3:
            at = chance.choice([chance.choice(outside), chance.randrange(len(damaged))])
            size = chance.randint(1, 64)
            damaged[at : at + chance.choice([0, size])] = bytes(chance.choice([0, size]))
        case 4:
            bold = chance.choice(BOLD_NUMBERS).to_bytes(8, "little")[: chance.choice([2, 4, 8])]
            at = chance.choice(outside)
            damaged[at : at + len(bold)] = bold
    return bytes(damaged)


def places_outside(form: Form, length: int) -> list[int]:
    taken = np.zeros(length, bool)
    for offset, shape, _ in form.places.values():
        taken[offset : offset + 4 * int(np.prod(shape))] = True
    return [int(place) for place in np.flatnonzero(~taken)]


def judge(form: Form, content: bytes, path: Path) -> bool:
    """Whether a mutant is accepted, after proof that this or its refusal is right."""
    path.write_bytes(content)
    tensors = read_or_refusal(form, path)
    if isinstance(tensors, str):
        assert tensors.startswith(f"{path}: ")
        assert "\n" not in tensors
        return False
    length = form.path.stat().st_size
    for name, tensor in tensors.items():
        if name in form.places:
            assert tensor.isfinite().all()
            # What a mutant has too little or too much may lie before or behind the numbers.
            shifts = [0, len(content) - length]
            assert any(
                np.array_equal(tensor.numpy(), form.stored(path, content, name, shift))
                for shift in shifts
            ), name
    return True


def read_or_refusal(form: Form, path: Path) -> dict[str, Tensor] | str:
    """The tensors of a file, or the message with which it is refused."""
    try:
        return form.read(path)
    except WeightsError as error:
        return str(error)


@pytest.mark.parametrize("name", FORMS)
def test_mutants_are_refused_in_one_line_or_read_as_they_are(name: str, tmp_path: Path) -> None:
    form = make(name, tmp_path)
    content = form.path.read_bytes()
    assert judge(form, content, tmp_path / "sound")
    outside = places_outside(form, len(content))
    chance = random.Random(name)
    accepted = sum(
        judge(form, mutate(content, outside, chance), tmp_path / "mutant") for _ in range(MUTANTS)
    )
    assert accepted < MUTANTS


@pytest.fixture
def bomb(tmp_path: Path) -> Iterator[Path]:
    """Where a bomb of ours would leave its trace."""
    yield tmp_path / "exploded"
    assert not (tmp_path / "exploded").exists()


class Touch:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def write_zip_bomb(path: Path, inside: str, gigabytes: int) -> None:
    """A few megabytes that unpack to gigabytes of zeros."""
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open(inside, "w", force_zip64=True) as file,
    ):
        for _ in range(gigabytes << 6):
            file.write(bytes(1 << 24))


def peak_bytes() -> int:
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) << 10


@pytest.mark.skipif(not FULL_SIZE_MUTANTS, reason="FULL_SIZE_MUTANTS says how many")
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says how much memory was used")
@pytest.mark.parametrize("name", FORMS)
def test_mutants_of_full_size_take_less_than_two_gibibytes(
    name: str, tmp_path: Path, bomb: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    form = make(name, tmp_path, width=1.0)
    content = form.path.read_bytes()
    outside = places_outside(form, len(content))
    chance = random.Random(f"{name} of full size")
    paths = []
    for number in range(FULL_SIZE_MUTANTS - 2):
        paths.append(tmp_path / f"mutant{number}")
        paths[-1].write_bytes(mutate(content, outside, chance))
    del content, outside
    paths += [tmp_path / "pickle", tmp_path / "bomb"]
    paths[-2].write_bytes(pickle.dumps({"state_dict": Touch(bomb)}, protocol=2))
    write_zip_bomb(
        paths[-1], "a/data.pkl" if "pth" in name else "0-convolutional/kernel:0.npy", gigabytes=3
    )
    most, refused = 0, 0
    for path in paths:
        Path("/proc/self/clear_refs").write_text("5")  # forgets the peak
        if isinstance(refusal := read_or_refusal(form, path), str):
            assert "\n" not in refusal
            most = max(most, peak_bytes())
            refused += 1
        else:
            assert judge(form, path.read_bytes(), path)
        path.unlink()
    form.path.unlink()
    with capsys.disabled():
        print(f"\n{name}: {refused} of {len(paths)} refused, at most {most >> 20} MiB")
    assert most < MOST_MEMORY
