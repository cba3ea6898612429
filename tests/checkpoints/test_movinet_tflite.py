"""The reader of MoViNet's published file: made files give their numbers, damaged ones an error.

Many mutants, of which as many more are of the published file where it is here:

MUTANTS=2000 python -m pytest tests/checkpoints/test_movinet_tflite.py
"""

import hashlib
import os
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from tests.golden import PROJECT_ROOT
from tests.movinet_file import StoredTensor, made_tensors, write_tflite
from tubedet.checkpoints.movinet_tflite import SHA256, load_video_backbone
from tubedet.errors import WeightsError
from tubedet.models.light.video_backbone import VideoBackbone

PUBLISHED = PROJECT_ROOT.parent / "shared/data/weights/movinet-a0-stream-int8.tflite"
MUTANTS = int(os.environ.get("MUTANTS", "150"))
BOLD_NUMBERS = [1 << 31, (1 << 31) - 1, (1 << 32) - 1, 1 << 24, 0, 1]


@pytest.fixture(scope="module")
def made() -> tuple[dict[int, StoredTensor], dict[str, Tensor]]:
    return made_tensors()


@pytest.fixture(scope="module")
def sound(
    made: tuple[dict[int, StoredTensor], dict[str, Tensor]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    return write_tflite(tmp_path_factory.mktemp("movinet") / "made.tflite", made[0])


def refusal(path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        load_video_backbone(path, VideoBackbone())
    message = str(caught.value)
    assert message.startswith(f"{path}: expected ")
    assert "\n" not in message
    return message


def test_every_number_of_a_made_file_comes_where_it_belongs(
    made: tuple[dict[int, StoredTensor], dict[str, Tensor]], sound: Path
) -> None:
    backbone = VideoBackbone()
    load_video_backbone(sound, backbone)
    state = backbone.state_dict()
    assert set(state) == set(made[1])
    for name, expected in made[1].items():
        torch.testing.assert_close(state[name], expected, rtol=1e-6, atol=0)


@pytest.mark.skipif(not PUBLISHED.is_file(), reason=f"{PUBLISHED} is not here")
def test_the_published_file_is_the_one_of_the_hash() -> None:
    assert hashlib.sha256(PUBLISHED.read_bytes()).hexdigest() == SHA256
    backbone = VideoBackbone()
    load_video_backbone(PUBLISHED, backbone)
    rezeros = [float(backbone.state_dict()[f"blocks.{n}.rezero"]) for n in (0, 1, 14)]
    assert rezeros == pytest.approx([-2.32977, -2.24227, -1.66838], abs=1e-5)  # of the table


def with_values(tensor: StoredTensor, values: NDArray[np.generic]) -> StoredTensor:
    return StoredTensor(tensor.name, values, tensor.scale, tensor.zero, tensor.axis)


CHANGES: dict[str, tuple[int, Callable[[StoredTensor], StoredTensor], str]] = {
    "name": (
        94,
        lambda t: StoredTensor("a/b", t.values, t.scale, t.zero),
        "tensor 94 is 'a/b', not blocks.0.expand.weight",
    ),
    "type": (94, lambda t: with_values(t, t.values.astype(np.int32)), "not blocks.0.expand.weight"),
    "rank": (94, lambda t: with_values(t, t.values[..., None]), "not blocks.0.expand.weight"),
    "shape": (
        94,
        lambda t: with_values(t, t.values.reshape(24, 8, 1, 1)),
        "blocks.0.expand.weight is (24, 1, 8, 1), not (24, 8, 1, 1)",
    ),
    "axis": (
        96,
        lambda t: StoredTensor(t.name, t.values, t.scale, t.zero, 1),
        "24 scales on axis 1",
    ),
    "scales": (
        94,
        lambda t: StoredTensor(t.name, t.values, t.scale[:7], t.zero),
        "7 scales on axis 0",
    ),
    "zeros": (
        94,
        lambda t: StoredTensor(t.name, t.values, t.scale, np.zeros(9, np.int64)),
        "9 scales on axis 0",
    ),
    "nan": (
        94,
        lambda t: StoredTensor(t.name, t.values, t.scale * np.float32("nan"), t.zero),
        "infinite values in blocks.0.expand.weight",
    ),
    "rezero": (
        100,
        lambda t: with_values(t, np.arange(8, dtype=np.int8).reshape(1, 1, 2, 4, 1)),
        "8 values of blocks.0.rezero",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_another_tensor_is_named(
    change: str, made: tuple[dict[int, StoredTensor], dict[str, Tensor]], tmp_path: Path
) -> None:
    number, changed, message = CHANGES[change]
    tensors = {**made[0], number: changed(made[0][number])}
    assert message in refusal(write_tflite(tmp_path / "changed.tflite", tensors))


def test_another_graph_is_refused(tmp_path: Path) -> None:
    assert "found 12 tensors" in refusal(write_tflite(tmp_path / "small.tflite", {}, count=12))
    assert "tensor 92 is ''" in refusal(write_tflite(tmp_path / "nameless.tflite", {}))


def test_files_of_other_kinds_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert "No such file" in refusal(path)
    for content in (b"", b"TFL3", b"Some text, and not a short one.\n", bytes(100)):
        path.write_bytes(content)
        assert "found a file of another kind" in refusal(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", "b")
    assert "found a file of another kind" in refusal(path)
    path.write_bytes(b"\0\0\0\0TFL3")
    refusal(path)
    path.write_bytes(b"\x10\0\0\0TFL3" + bytes(17 << 20))
    assert "found more than 16 MiB" in refusal(path)
    refusal(tmp_path)


def mutate(content: bytes, chance: random.Random) -> bytes:
    """A damaged copy: cut, with flipped bytes, a hole, or a number that is bold as an offset."""
    damaged = bytearray(content)
    # Offsets, shapes and names are behind or before the numbers of the layers.
    third = len(damaged) // 3
    at = chance.choice([chance.randrange(len(damaged)), chance.randrange(third)])
    at = chance.choice([at, len(damaged) - 1 - at, chance.randrange(256)])
    match chance.randrange(4):
        case 0:
            del damaged[at:]
        case 1:
            for _ in range(chance.randint(1, 8)):
                damaged[min(len(damaged) - 1, at + chance.randrange(64))] ^= chance.randint(1, 255)
        case 2:
            damaged[at : at + chance.randint(0, 64)] = bytes(chance.randint(0, 64))
        case 3:
            at -= at % 4
            damaged[at : at + 4] = chance.choice(BOLD_NUMBERS).to_bytes(4, "little")
    return bytes(damaged)


@pytest.mark.parametrize("which", ["made", "published"])
def test_mutants_are_refused_in_one_line_or_read(which: str, sound: Path, tmp_path: Path) -> None:
    if which == "published" and not PUBLISHED.is_file():
        pytest.skip(f"{PUBLISHED} is not here")
    content = (sound if which == "made" else PUBLISHED).read_bytes()
    chance = random.Random(which)
    path, backbone = tmp_path / "mutant.tflite", VideoBackbone()
    accepted = 0
    for _ in range(MUTANTS):
        path.write_bytes(mutate(content, chance))
        message = refusal_if_any(path, backbone)
        if message is None:
            accepted += 1
            assert all(tensor.isfinite().all() for tensor in backbone.state_dict().values())
        else:
            assert message.startswith(f"{path}: expected ")
            assert "\n" not in message
    assert 0 < accepted < MUTANTS


def refusal_if_any(path: Path, backbone: VideoBackbone) -> str | None:
    try:
        load_video_backbone(path, backbone)
    except WeightsError as error:
        return str(error)
    return None
