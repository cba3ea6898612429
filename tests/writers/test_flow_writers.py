"""Flow as files: what is written is what other tools read."""

import struct
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.full_disk import full_disk
from tests.output_targets import finished, open_writer, plain_frame, target_for
from tests.synthetic_video import write_video
from tubedet.errors import OutputError
from tubedet.video.frame_pairs import FramePair
from tubedet.video.preprocess import PairInputs
from tubedet.writers.formats import WRITERS
from tubedet.writers.run_lock import BeingWrittenError
from tubedet.writers.target import OutputTarget
from tubedet.writers.transaction import OutputTransaction
from tubedet.writers.writer import FrameResult, Writer


@pytest.fixture
def target(tmp_path: Path) -> OutputTarget:
    return target_for(tmp_path / "out", tmp_path / "clip.mp4")


def smooth_flow(height: int = 48, width: int = 64, longest: float = 6.0) -> NDArray[np.float32]:
    """(2, H, W), a vortex that fills the range of Brox's images."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    return np.stack([-y, x]).astype(np.float32) * longest


def flow_of(number: int, flow_uv: NDArray[np.float32] | None = None) -> FrameResult:
    """A frame with its flow."""
    return FrameResult(plain_frame(number), flow_uv=smooth_flow() if flow_uv is None else flow_uv)


def write_frames(outputs: Writer | OutputTransaction, *numbers: int) -> None:
    for number in numbers:
        outputs.write(flow_of(number))


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_a_flo_file_is_read_bit_for_bit_by_opencv(target: OutputTarget) -> None:
    flow_uv = np.random.default_rng(0).normal(0, 9, (2, 5, 7)).astype(np.float32)
    flow_uv[:, 0, 0] = (1e-30, -1e9)
    writer = open_writer("flo", target, "flow")
    writer.write(flow_of(0, flow_uv))
    read = cv2.readOpticalFlow(str(finished(writer) / "000000.flo"))
    assert read.shape == (5, 7, 2)
    assert read.tobytes() == np.ascontiguousarray(flow_uv.transpose(1, 2, 0)).tobytes()


def test_a_flo_file_says_its_size_and_then_u_and_v_of_every_pixel(target: OutputTarget) -> None:
    writer = open_writer("flo", target, "flow")
    writer.write(flow_of(12, np.array([[[1, 2]], [[3, 4]]], np.float32)))
    content = (finished(writer) / "000012.flo").read_bytes()
    assert struct.unpack("<f", content[:4]) == (np.float32(202021.25),)
    assert content == struct.pack("<4sii4f", b"PIEH", 2, 1, 1, 3, 2, 4)


@pytest.mark.parametrize(
    ("u", "v", "rgb"),
    [
        (0, 0, (128, 128, 128)),
        (3, -4, (176, 64, 208)),  # 128 + 48, 128 - 64, 128 + 80
        (1.03, 0, (144, 128, 144)),  # 128 + 16.48
        (20, -20, (255, 0, 255)),
    ],
)
def test_brox_images_hold_sixteenths_of_a_pixel_around_128(
    target: OutputTarget, u: float, v: float, rgb: tuple[int, int, int]
) -> None:
    writer = open_writer("brox", target, "flow")
    flow_uv = np.empty((2, 16, 24), np.float32)
    flow_uv[0], flow_uv[1] = u, v
    writer.write(flow_of(4, flow_uv))
    bgr = cv2.imread(str(finished(writer) / "00005.jpg"))
    assert bgr is not None
    assert np.abs(bgr[..., ::-1].astype(int) - rgb).max() <= 1  # JPEG's colour space rounds


def test_brox_images_are_what_the_brox_preset_reads(target: OutputTarget) -> None:
    noise = np.random.default_rng(1).normal(0, 0.3, (2, 64, 64))
    u, v = flow_uv = (smooth_flow(64, 64) + noise).astype(np.float32)
    writer = open_writer("brox", target, "flow")
    writer.write(flow_of(7, flow_uv))
    folder = finished(writer)
    at = plain_frame(7, 64, 64)
    read = PairInputs(64, folder).inputs_of(FramePair(at, at, at))[:, 1].float().numpy()
    levels = np.stack([16 * u + 128, 16 * v + 128, 16 * np.sqrt(u**2 + v**2) + 128])
    error = np.abs(read - np.clip(levels, 0, 255))
    assert error.max() <= 5  # with the usual quality 95 and halved chroma it is 28
    assert error.mean() <= 0.75


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("flo", ["000000.flo", "000001.flo", "1000000.flo"]),
        ("brox", ["00001.jpg", "00002.jpg", "1000001.jpg"]),
    ],
)
def test_files_appear_together_when_all_are_there(
    target: OutputTarget, name: str, files: list[str]
) -> None:
    outputs = OutputTransaction("flow", [name], target)
    write_frames(outputs, 0, 1, 1_000_000)
    assert {path.name[0] for path in target.folder.iterdir()} == {"."}
    outputs.commit()
    assert outputs.outputs == (target.folder / "clip", target.folder / "clip.flow.meta.json")
    assert names(target.folder) == ["clip", "clip.flow.meta.json", *(f"clip/{f}" for f in files)]
    outputs.discard()
    assert len(names(target.folder)) == 5


def test_two_formats_share_a_folder(target: OutputTarget) -> None:
    outputs = OutputTransaction("flow", ["flo", "brox"], target)
    write_frames(outputs, 0)
    outputs.commit()
    assert names(target.folder / "clip") == ["000000.flo", "00001.jpg"]
    assert sum(path.is_dir() for path in target.folder.iterdir()) == 1


def test_a_frame_between_those_of_a_stride_has_no_file(target: OutputTarget) -> None:
    writer = open_writer("flo", target, "flow")
    for number in range(4):
        writer.write(FrameResult(plain_frame(number)) if number % 3 else flow_of(number))
    assert names(finished(writer)) == ["000000.flo", "000003.flo"]


def test_a_shorter_run_leaves_nothing_of_a_longer_one_and_nothing_else_is_touched(
    target: OutputTarget,
) -> None:
    folder = target.folder / "clip"
    folder.mkdir(parents=True)
    kept = ["00001.jpg", "000003.flo.txt", "12.flo", "notes.flo", "sub"]
    for name in kept:
        (folder / name).touch()
    for numbers in ((0, 1, 2), (0, 1)):
        writer = open_writer("flo", target, "flow")
        write_frames(writer, *numbers)
        finished(writer)
    found = sorted(path.name for path in folder.iterdir())
    assert found == sorted([*kept, "000000.flo", "000001.flo"])
    assert names(target.folder)[0] == "clip"


def test_an_interrupted_run_stays_apart_until_a_whole_one_replaces_it(target: OutputTarget) -> None:
    stopped = OutputTransaction("flow", ["flo"], target)
    write_frames(stopped, 0)
    stopped.keep_partial()
    assert stopped.outputs[0] == target.folder / "clip.partial"
    assert names(target.folder) == [
        "clip.partial",
        "clip.partial.flow.meta.json",
        "clip.partial/000000.flo",
    ]
    whole = OutputTransaction("flow", ["flo"], target)
    write_frames(whole, 0, 1)
    whole.commit()
    assert names(target.folder) == [
        "clip",
        "clip.flow.meta.json",
        "clip/000000.flo",
        "clip/000001.flo",
    ]


def test_what_a_killed_run_left_is_not_mixed_with_the_next_one(target: OutputTarget) -> None:
    killed = target.folder / ".clip.flo.part"
    killed.mkdir(parents=True)
    (killed / "000009.flo").touch()
    (killed / "begun").touch()
    writer = open_writer("flo", target, "flow")
    write_frames(writer, 0)
    finished(writer)
    assert names(target.folder) == ["clip", "clip/000000.flo"]


@pytest.mark.parametrize("name", ["flo", "brox"])
def test_a_discarded_run_leaves_nothing(target: OutputTarget, name: str) -> None:
    outputs = OutputTransaction("flow", [name], target)
    write_frames(outputs, 0, 1)
    outputs.discard()
    outputs.discard()
    assert not target.folder.exists()


def test_a_second_run_of_the_same_target_is_refused_while_the_first_writes(
    target: OutputTarget,
) -> None:
    first = OutputTransaction("flow", ["flo"], target)
    write_frames(first, 0)
    with pytest.raises(BeingWrittenError, match="another run is writing it"):
        OutputTransaction("flow", ["brox"], target)
    write_frames(first, 1)
    first.commit()
    assert names(target.folder / "clip") == ["000000.flo", "000001.flo"]


def test_a_full_disk_is_an_output_error_and_leaves_no_half_file(target: OutputTarget) -> None:
    writer = open_writer("flo", target, "flow")
    with pytest.raises(OutputError, match=r"cannot write .*clip: "), full_disk():
        writer.write(flow_of(0, smooth_flow(480, 640)))
    assert names(finished(writer)) == []


def test_a_file_in_the_place_of_the_folder_is_found_before_the_work(target: OutputTarget) -> None:
    target.folder.mkdir()
    (target.folder / "clip").touch()
    with pytest.raises(OutputError, match="a file of this name is in the way"):
        OutputTransaction("flow", ["flo"], target)
    assert names(target.folder) == ["clip"]


def test_the_flow_video_has_a_name_of_its_own(tmp_path: Path) -> None:
    source = write_video(tmp_path / "clip.mp4", frames=2, width=64, height=48)
    target = target_for(tmp_path / "out", source)
    for end in ("keep_partial", "commit"):
        outputs = OutputTransaction("flow", ["mp4"], target)
        write_frames(outputs, 0)
        getattr(outputs, end)()
        with av.open(str(outputs.outputs[0])) as video:
            assert video.streams.video[0].codec_context.name == "h264"
        stem = "clip" if end == "commit" else "clip.partial"
        assert names(tmp_path / "out") == [f"{stem}.flow.meta.json", f"{stem}.flow.mp4"]


def test_only_files_of_the_same_format_are_those_of_a_writer(tmp_path: Path) -> None:
    (tmp_path / "clip").mkdir()
    (tmp_path / "clip/00001.jpg").touch()
    files = {
        name: each.files_of(tmp_path / f"clip{each.suffix}")
        for name, each in WRITERS["flow"].items()
    }
    assert files == {"mp4": [], "flo": [], "brox": [tmp_path / "clip/00001.jpg"]}


@pytest.mark.parametrize("name", ["flo", "brox"])
def test_only_files_of_the_same_format_are_in_the_way(target: OutputTarget, name: str) -> None:
    outputs = OutputTransaction("flow", [name], target)
    write_frames(outputs, 0)
    (target.folder / "clip").mkdir()
    (target.folder / "clip/00001.jpg").write_bytes(b"mine")
    if name == "flo":
        outputs.commit()
        assert names(target.folder / "clip") == ["000000.flo", "00001.jpg"]
    else:
        with pytest.raises(OutputError, match="appeared while"):
            outputs.commit()
        assert names(target.folder / "clip.partial") == ["00001.jpg"]
    assert (target.folder / "clip/00001.jpg").read_bytes() == b"mine"
