"""Small PyTorch checkpoints that claim, or would take, far more memory than they are long."""

import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tubedet.checkpoints.flownet2_nvidia import (
    LEGACY_START,
    MOST_ITEMS,
    MOST_PICKLE_BYTES,
    outline_flownet2,
)
from tubedet.checkpoints.foreign_files import MOST_MEMBERS
from tubedet.errors import WeightsError


class Call:
    """Pickled as a call."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


class Storage:
    """Pickled as a storage of `count` numbers, whatever the file holds."""

    def __init__(self, count: int, key: str = "0") -> None:
        self.reference = ("storage", torch.FloatStorage, key, "cpu", count)


class Pickler(pickle.Pickler):
    def persistent_id(self, value: Any) -> Any:
        return value.reference if isinstance(value, Storage) else None


def pickled(content: Any) -> bytes:
    stream = io.BytesIO()
    Pickler(stream, protocol=2).dump(content)
    return stream.getvalue()


def vector(count: int, shape: tuple[int, ...], key: str = "0") -> Call:
    rebuild = torch._utils._rebuild_tensor_v2
    stride = tuple(1 for _ in shape)
    return Call(rebuild, Storage(count, key), 0, shape, stride, False, OrderedDict())


def legacy(content: bytes, *, system: Any = None) -> bytes:
    numbers = struct.pack("<q4f", 4, *range(4))
    return LEGACY_START + pickled(1001) + pickled(system) + content + pickled(["0"]) + numbers


def zipped(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def complaint(content: bytes, tmp_path: Path) -> str:
    (tmp_path / "w").write_bytes(content)
    with pytest.raises(WeightsError) as failure:
        outline_flownet2(tmp_path / "w")
    message = str(failure.value)
    assert "\n" not in message
    return message


def test_what_the_bold_ones_are_made_of_is_read_where_it_is_modest(tmp_path: Path) -> None:
    content = pickled({"a": vector(4, (4,))})
    for modest in (legacy(content), zipped({"a/data.pkl": content, "a/data/0": bytes(16)})):
        (tmp_path / "w").write_bytes(modest)
        assert outline_flownet2(tmp_path / "w")["a"].shape == (4,)


@pytest.mark.parametrize("count", [1 << 40, 1 << 62, 10**30])
def test_a_storage_that_is_larger_than_the_file_is_refused(count: int, tmp_path: Path) -> None:
    content = pickled({"a": vector(count, (count,))})
    for bold in (legacy(content), zipped({"a/data.pkl": content, "a/data/0": bytes(16)})):
        assert f"{count} numbers, more than the file holds" in complaint(bold, tmp_path)


def test_storages_that_are_larger_than_the_file_together_are_refused(tmp_path: Path) -> None:
    content = {str(key): vector(100, (100,), str(key)) for key in range(100)}
    assert "more than the file holds" in complaint(legacy(pickled(content)), tmp_path)


def test_a_tensor_that_would_enlarge_its_storage_is_refused(tmp_path: Path) -> None:
    content = pickled({"a": vector(4, (1 << 40,))})
    assert "only a part of a storage" in complaint(legacy(content), tmp_path)


def test_a_storage_of_two_tensors_is_refused(tmp_path: Path) -> None:
    content = pickled({"a": vector(4, (4,)), "b": vector(4, (4,))})
    assert "two tensors share" in complaint(legacy(content), tmp_path)


@pytest.mark.parametrize("function", [bytearray, torch.FloatTensor, torch.empty])
def test_a_call_that_takes_memory_is_refused_wherever_it_stands(
    function: Callable[..., Any], tmp_path: Path
) -> None:
    call = Call(function, 1 << 33)
    for bold in (legacy(pickled({"a": call})), legacy(pickled({}), system=call)):
        assert "which no set of weights needs" in complaint(bold, tmp_path)


@pytest.mark.parametrize(
    ("operation", "found"),
    [
        (b"r" + struct.pack("<I", 1 << 30), "a damaged pickle"),  # remember as the 2^30th
        (b"\x96" + struct.pack("<Q", 1 << 33), "bytearray8"),
        (b"X" + struct.pack("<I", (1 << 32) - 1), "unicodestring4"),
        (b"\x80\x05", "another protocol"),
        (b"\x94", "another protocol (with MEMOIZE)"),
    ],
)
def test_an_operation_that_takes_memory_is_refused(
    operation: bytes, found: str, tmp_path: Path
) -> None:
    assert found in complaint(legacy(b"\x80\x02}" + operation + b"."), tmp_path)


def test_dicts_that_are_copied_again_and_again_are_refused(tmp_path: Path) -> None:
    items = [[str(number), 0] for number in range(MOST_ITEMS // 4)]
    content = pickled([Call(OrderedDict, items) for _ in range(5)])
    assert "too many items" in complaint(legacy(content), tmp_path)


@pytest.mark.parametrize("name", ["a/data.pkl", "a/byteorder", "a/data/0"])
def test_members_that_unpack_to_more_than_the_file_are_refused(name: str, tmp_path: Path) -> None:
    members = {"a/data.pkl": pickled({"a": vector(4, (4,))}), "a/data/0": bytes(16)}
    bold = zipped({**members, name: bytes(1 << 24)}, zipfile.ZIP_DEFLATED)
    assert "a compressed archive" in complaint(bold, tmp_path)


def test_a_pickle_that_is_far_longer_than_a_networks_is_refused(tmp_path: Path) -> None:
    content = pickled({"a": vector(4, (4,)), "b": "long" * MOST_PICKLE_BYTES})
    assert "of a huge one" in complaint(zipped({"a/data.pkl": content}), tmp_path)
    assert complaint(legacy(content), tmp_path)


def test_an_archive_of_more_members_than_weights_have_is_refused(tmp_path: Path) -> None:
    members = {f"a/{number}": b"" for number in range(MOST_MEMBERS + 1)}
    assert f"an archive of {MOST_MEMBERS + 1} members" in complaint(zipped(members), tmp_path)


def test_a_damaged_member_and_two_of_one_name_are_refused(tmp_path: Path) -> None:
    members = {"a/data.pkl": pickled({"a": vector(4, (4,))}), "a/data/0": b"numbersnumbers!!"}
    sound = zipped(members)
    assert "differs from its checksum" in complaint(sound.replace(b"rsnum", b"rsNum"), tmp_path)
    assert "holds a name twice" in complaint(zipped({**members, "a/DATA/0": b""}), tmp_path)


@pytest.mark.parametrize("again", [b"h", b"2"], ids=["remembered", "duplicated"])
def test_tuples_of_tuples_whose_hash_would_take_for_ever_are_refused(
    again: bytes, tmp_path: Path
) -> None:
    nested = b"".join(
        b"q" + bytes([level]) + (again + bytes([level]) if again == b"h" else again) + b"\x86"
        for level in range(60)
    )
    content = b"\x80\x02})" + nested + b"Ns."
    assert "nested tuples" in complaint(legacy(content), tmp_path)


def test_a_tensor_with_a_state_that_gives_it_another_size_is_refused(tmp_path: Path) -> None:
    class Resized(Call):
        def __reduce__(self) -> tuple[Any, ...]:
            return (*self.call, (0, 1 << 30, (1,), (1,)))

    rebuild = torch._utils._rebuild_tensor_v2
    call = Resized(rebuild, Storage(4), 0, (4,), (1,), False, OrderedDict())
    assert "a tensor with a state" in complaint(legacy(pickled({"a": call})), tmp_path)
