"""Mutants of published layouts: an error in one line, or exactly the values that the file stores.

Readers see all of them, `tubedet weights import` every tenth. A thousand of each narrow twin, each
by the command too, and ten of full size with the most memory that a refusal took (minutes of CPU):

MUTANTS=1000 FULL_SIZE_MUTANTS=10 python -m pytest tests/checkpoints/test_damaged_foreign_weights.py
"""

import functools
import os
import pickle
import random
import subprocess
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
from typer.testing import CliRunner

from tests.movinet_file import write_made_movinet
from tests.voc_files import (
    HEADER_2016,
    HEADER_TODAY,
    NARROW,
    Arrays,
    backbone_of,
    narrow_arrays,
    npz_arrays,
    write_darknet_file,
    write_h5_file,
    write_npz_file,
)
from tubedet.checkpoints import foreign_weights, known_shift
from tubedet.checkpoints.darknet_weights import read_darknet
from tubedet.checkpoints.flownet2_nvidia import read_flownet2
from tubedet.checkpoints.movinet_tflite import load_video_backbone
from tubedet.checkpoints.native import load_partial
from tubedet.checkpoints.voc_weights import VocWeights
from tubedet.checkpoints.yolo2_pytorch import read_h5, read_npz
from tubedet.cli.app import app
from tubedet.errors import WeightsError
from tubedet.models.flownet2.stacks import FlowNet2, FlowNet2CSS, FlowNet2SD
from tubedet.models.light.video_backbone import VideoBackbone

ROOT = Path(__file__).parents[2]
MUTANTS = int(os.environ.get("MUTANTS", "200"))
COMMAND_EVERY = 1 if "MUTANTS" in os.environ else 10
FULL_SIZE_MUTANTS = int(os.environ.get("FULL_SIZE_MUTANTS", "0"))
MOST_MEMORY = 2 << 30
BOLD_NUMBERS = [1 << 31, (1 << 31) - 1, (1 << 62), (1 << 64) - 1, 0, 1]
FLOW_NETWORKS: dict[str, tuple[str, type[nn.Module]]] = {
    "FlowNet2": ("flownet2", FlowNet2),
    "FlowNet2-CSS": ("flownet2-css", FlowNet2CSS),
    "FlowNet2-SD": ("flownet2-sd", FlowNet2SD),
    "FlowNet2-SD zip": ("flownet2-sd", FlowNet2SD),
}
VOC_FORMS = ["darknet 2016", "darknet conv64", "darknet backbone", "h5", "npz", "npz backbone"]
FORMS = [*FLOW_NETWORKS, *VOC_FORMS, "movinet"]
# Runs the command line after it and prints the most memory that it held at once, in kB. What
# getrusage says of a process includes the memory of the one that started it.
PROGRAM = """
import atexit, pathlib, runpy
status = pathlib.Path("/proc/self/status")
atexit.register(lambda: print(status.read_text().partition("VmHWM:")[2].split()[0]))
runpy.run_module("tubedet", run_name="__main__", alter_sys=True)
"""
Outcome = dict[str, Tensor] | str  # what was read, or the message of a refusal
Read = Callable[[Path], dict[str, Tensor]]
Run = Callable[[list[str]], tuple[int, str]]  # the program: its exit code and stderr


@dataclass
class Form:
    """A file of some layout: how it is read, and where the numbers of each tensor lie in it."""

    path: Path
    preset: str
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
    return lambda path: read(path, width).tensors


def make(form: str, folder: Path, width: float = NARROW) -> Form:
    path = folder / form.replace(" ", "_")
    if form in FLOW_NETWORKS:
        return make_flow(form, path, width)
    if form == "movinet":  # in 8 bits: its own test compares the numbers
        return Form(write_made_movinet(path), "light", read_movinet, {})
    arrays = narrow_arrays("conv64" if form == "darknet conv64" else "direct", width=width)
    if form.endswith("backbone"):
        arrays = backbone_of(arrays)
    if form.startswith("npz"):
        content = write_npz_file(path, arrays).read_bytes()
        return Form(path, "brox", of_voc(read_npz, width), find_npz_places(content, arrays))
    if form == "h5":
        content = write_h5_file(path, arrays).read_bytes()
        return Form(path, "brox", of_voc(read_h5, width), find_places(content, arrays))
    header = HEADER_TODAY if form == "darknet conv64" else HEADER_2016
    content = write_darknet_file(path, arrays, header).read_bytes()
    return Form(path, "brox", of_voc(read_darknet, width), find_places(content, arrays))


def read_movinet(path: Path) -> dict[str, Tensor]:
    backbone = VideoBackbone()
    load_video_backbone(path, backbone)
    return backbone.state_dict()


def make_flow(form: str, path: Path, width: float) -> Form:
    preset, network_class = FLOW_NETWORKS[form]
    torch.manual_seed(2)
    state = network_class(width=width).state_dict()
    # Biases begin at zero, and zeros are found anywhere.
    for tensor in state.values():
        tensor.normal_()
    content = {"epoch": 0, "state_dict": state, "best_EPE": 1e10}
    torch.save(content, path, _use_new_zipfile_serialization=form.endswith("zip"))
    arrays = {name: tensor.numpy() for name, tensor in state.items()}
    outline = {name: tensor.to("meta") for name, tensor in state.items()}
    places = find_places(path.read_bytes(), arrays)
    return Form(path, preset, lambda p: read_flownet2(p, outline, form), places)


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


def is_accepted(form: Form, content: bytes, path: Path, outcome: Outcome) -> bool:
    """Whether a file was accepted, after proof that this or its refusal is right."""
    if isinstance(outcome, str):
        assert outcome.startswith(f"{path}: ")
        assert "\n" not in outcome
        return False
    length = form.path.stat().st_size
    for name, tensor in outcome.items():
        if name in form.places:
            assert tensor.isfinite().all()
            # What a mutant has too little or too much may lie before or behind the numbers.
            shifts = [0, len(content) - length]
            assert any(
                np.array_equal(tensor.numpy(), form.stored(path, content, name, shift))
                for shift in shifts
            ), name
    return True


def read_or_refusal(form: Form, path: Path) -> Outcome:
    try:
        return form.read(path)
    except WeightsError as error:
        return str(error)


def imported_or_refusal(form: Form, path: Path, run: Run) -> Outcome:
    """What `tubedet weights import` makes of a file; a refusal has code 4 and leaves nothing."""
    output = path.with_name("start.safetensors")
    before = sorted(path.parent.iterdir())
    command = ["weights", "import", str(path), "--preset", form.preset, "--allow-random"]
    code, stderr = run([*command, "-o", str(output)])
    if code:
        assert (code, stderr.count("\n"), stderr[-1]) == (4, 1, "\n"), stderr
        assert sorted(path.parent.iterdir()) == before
        return stderr.removeprefix("tubedet: ").removesuffix("\n")
    tensors: dict[str, Tensor] = {}
    for name, tensor in load_partial(output)[0].items():
        own = name.removeprefix("flow.").removeprefix("rgb_stream.").removeprefix("motion_stream.")
        assert torch.equal(tensors.setdefault(own, tensor), tensor)  # in both streams
    output.unlink()
    return tensors


def in_process(arguments: list[str]) -> tuple[int, str]:
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, result.stderr


@pytest.mark.parametrize("name", FORMS)
def test_mutants_are_refused_in_one_line_or_read_as_they_are(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    narrowed = functools.partial(foreign_weights.import_weights, width=NARROW)
    monkeypatch.setattr(foreign_weights, "import_weights", narrowed)
    monkeypatch.setattr(known_shift, "SIDE", 128)  # px; what flow it finds is all the same here
    form = make(name, tmp_path)
    sound = form.path.read_bytes()
    assert is_accepted(form, sound, form.path, read_or_refusal(form, form.path))
    assert is_accepted(form, sound, form.path, imported_or_refusal(form, form.path, in_process))
    outside = places_outside(form, len(sound))
    chance = random.Random(name)
    path, accepted = tmp_path / "mutant", 0
    for number in range(MUTANTS):
        content = mutate(sound, outside, chance)
        path.write_bytes(content)
        is_read = is_accepted(form, content, path, read_or_refusal(form, path))
        if number % COMMAND_EVERY == 0:
            outcome = imported_or_refusal(form, path, in_process)
            assert is_accepted(form, content, path, outcome) <= is_read
        accepted += is_read
    assert 0 < accepted < MUTANTS


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


@pytest.mark.skipif(not FULL_SIZE_MUTANTS, reason="FULL_SIZE_MUTANTS says how many")
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says how much memory was used")
@pytest.mark.parametrize("name", FORMS)
def test_mutants_of_full_size_take_less_than_two_gibibytes(
    name: str, tmp_path: Path, bomb: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    peaks: list[int] = []

    def in_a_process(arguments: list[str]) -> tuple[int, str]:
        command = [sys.executable, "-c", PROGRAM, *arguments]
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        peaks.append(int(run.stdout.split()[-1]) << 10)
        return run.returncode, run.stderr

    form = make(name, tmp_path, width=1.0)
    path, most = tmp_path / "mutant", 0
    accepted = 0
    for content in full_size_mutants(form, name, bomb, path):
        outcome = imported_or_refusal(form, path, in_a_process)
        if is_accepted(form, content, path, outcome):
            accepted += 1
        else:
            most = max(most, peaks[-1])
        path.unlink()
    form.path.unlink()
    with capsys.disabled():
        print(f"\n{name}: {accepted} of {len(peaks)} accepted, refused at {most >> 20} MiB or less")
    assert most < MOST_MEMORY


def full_size_mutants(form: Form, name: str, bomb: Path, path: Path) -> Iterator[bytes]:
    """Write mutants one after the other; a pickle that runs code and a zip bomb are the last."""
    sound = form.path.read_bytes()
    outside = places_outside(form, len(sound))
    chance = random.Random(f"{name} of full size")
    for _ in range(FULL_SIZE_MUTANTS - 2):
        content = mutate(sound, outside, chance)
        path.write_bytes(content)
        yield content
    del sound
    if name in FLOW_NETWORKS:
        published = torch.load(form.path, weights_only=True)
        as_zip = name.endswith("zip")
        torch.save({**published, "b": Touch(bomb)}, path, _use_new_zipfile_serialization=as_zip)
    else:
        path.write_bytes(pickle.dumps({"state_dict": Touch(bomb)}, protocol=2))
    yield b""
    inside = "0-convolutional/kernel:0.npy" if name in VOC_FORMS else "a/data.pkl"
    write_zip_bomb(path, inside, gigabytes=3)
    yield b""
