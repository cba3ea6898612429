import weakref
from collections.abc import Generator
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.known_flow import BrightnessFlow, KnownFlow
from tests.lossless_video import write_lossless
from tests.scripted_run import ending, job_of, meta_of, names_in, pictures_of, run, times_of
from tests.synthetic_video import corrupt, write_video
from tubedet.errors import OutputError, UsageError, VideoError
from tubedet.pipeline import process_video
from tubedet.run.events import DiskNeeded, FrameDone, VideoDone
from tubedet.run.flow import FlowWork
from tubedet.run.overlap import HELD
from tubedet.run.plan import FramePlan
from tubedet.run.stop import StopRequest
from tubedet.runtime.torch_flow import TorchFlow
from tubedet.video.reader import VideoReader
from tubedet.video.time_range import FrameNumber, TimeRange
from tubedet.writers.writer import FrameResult

KNOWN = TorchFlow(KnownFlow(), device="cpu")
BRIGHTNESS = TorchFlow(BrightnessFlow(), device="cpu")


def grey_video(path: Path, *levels: int) -> Path:
    """Plain pictures of 64x64 px, each as bright as told."""
    return write_lossless(path, [np.full((64, 64, 3), level, np.uint8) for level in levels])


def read_flo(path: Path) -> NDArray[np.float32]:
    return np.asarray(cv2.readOpticalFlow(str(path)), np.float32)


def flow_of(
    reader: VideoReader, network: torch.nn.Module, plan: FramePlan | None = None
) -> Generator[FrameResult]:
    work = FlowWork(TorchFlow(network, device="cpu"), plan or FramePlan())
    return work.results(reader, StopRequest(), with_pictures=False)


def pairs_seen(
    video: Path, plan: FramePlan | None = None
) -> list[tuple[int, float, float] | tuple[int]]:
    """Every frame's number, and the brightness of the two frames that its flow was made of."""
    with VideoReader(video) as reader:
        return [
            (result.frame.frame,)
            if result.flow_uv is None
            else (result.frame.frame, result.flow_uv[0, 0, 0], result.flow_uv[1, 0, 0])
            for result in flow_of(reader, BrightnessFlow(), plan)
        ]


def test_a_frame_has_the_flow_to_the_next_and_the_last_one_that_of_the_pair_before(
    tmp_path: Path,
) -> None:
    video = grey_video(tmp_path / "clip.mkv", 10, 20, 40)
    assert pairs_seen(video) == [(0, 10, 20), (1, 20, 40), (2, 20, 40)]


def test_a_single_frame_is_its_own_partner(tmp_path: Path) -> None:
    assert pairs_seen(grey_video(tmp_path / "clip.mkv", 10)) == [(0, 10, 10)]


def test_a_stride_passes_over_frames_and_pairs_the_others_with_their_successors(
    tmp_path: Path,
) -> None:
    video = grey_video(tmp_path / "clip.mkv", 10, 20, 30, 40, 50, 60, 70)
    plan = FramePlan(span=TimeRange(FrameNumber(1), FrameNumber(6)), stride=2)
    assert pairs_seen(video, plan) == [(1, 20, 30), (2,), (3, 40, 50), (4,), (5, 60, 70)]


def test_max_frames_ends_the_flow_before_the_next_frame_that_is_due(tmp_path: Path) -> None:
    video = grey_video(tmp_path / "clip.mkv", 10, 20, 30, 40, 50, 60, 70)
    assert pairs_seen(video, FramePlan(stride=2, max_frames=2)) == [
        (0, 10, 20),
        (1,),
        (2, 30, 40),
        (3,),
    ]


def test_the_last_frame_of_a_stride_has_a_pair_of_its_own(tmp_path: Path) -> None:
    """Its own pair is the one before it, which nobody has looked at."""
    video = grey_video(tmp_path / "clip.mkv", 10, 20, 30)
    assert pairs_seen(video, FramePlan(stride=2)) == [(0, 10, 20), (1,), (2, 20, 30)]


def test_no_flow_spans_a_frame_that_is_lost(tmp_path: Path) -> None:
    video = write_video(tmp_path / "clip.mkv", frames=5, width=64, height=64, codec="ffv1")
    corrupt(video, packets=[2])
    network = KnownFlow()
    with VideoReader(video) as reader:
        found = [result.frame.frame for result in flow_of(reader, network)]
        assert reader.skipped_frames == 1
    assert found == [0, 1, 2, 3]
    assert len(network.seen) == 2  # frames 0 and 1, and frames 3 and 4 of the source


def test_a_few_frames_are_read_ahead_and_none_is_kept(tmp_path: Path) -> None:
    video = grey_video(tmp_path / "clip.mkv", *range(30))
    pictures: list[weakref.ref[NDArray[np.uint8]]] = []
    with VideoReader(video) as reader:
        for result in flow_of(reader, KnownFlow()):
            assert reader.decoded_frames <= result.frame.frame + 2 + HELD
            pictures.append(weakref.ref(result.frame.rgb))
            assert sum(picture() is not None for picture in pictures) <= 3
    assert len(pictures) == 30


def test_all_formats_tell_the_same_flow(tmp_path: Path) -> None:
    video = write_video(tmp_path / "clip.mp4", frames=4, width=100, height=72, audio=["aac"])
    job = job_of(video, tmp_path)
    needed, *frames, done = process_video(job, FlowWork(KNOWN, FramePlan()), ["flo", "brox", "mp4"])
    assert isinstance(needed, DiskNeeded)
    assert needed.needed == 4 * (2 * 4 * 100 * 72 + 12)
    assert frames == [FrameDone(done, 4) for done in (1, 2, 3, 4)]
    assert isinstance(done, VideoDone)
    folder, meta = tmp_path / "clip", tmp_path / "clip.flow.meta.json"
    assert done.outputs == (folder, tmp_path / "clip.flow.mp4", meta)  # two formats, one folder
    assert (done.frames, done.found, done.partial) == (4, None, False)
    assert meta_of(meta)["outputs"]["flo"] == {
        "name": "clip",
        "bytes": 4 * (2 * 4 * 100 * 72 + 12),
        "files": 4,
    }
    assert names_in(tmp_path / "clip") == [
        *(f"{number:06d}.flo" for number in range(4)),
        *(f"{number:05d}.jpg" for number in range(1, 5)),
    ]
    u, v = 3 * 100 / 128, -2 * 72 / 128  # the network sees 128x128
    flow = read_flo(tmp_path / "clip/000003.flo")
    np.testing.assert_allclose(flow, np.broadcast_to((u, v), (72, 100, 2)), rtol=1e-6)
    image = cv2.imread(str(tmp_path / "clip/00004.jpg"))
    assert image is not None
    levels = [128 + 16 * value for value in (np.hypot(u, v), v, u)]  # OpenCV has blue first
    assert np.abs(image - levels).max() <= 2
    with av.open(str(tmp_path / "clip.flow.mp4")) as coloured, av.open(str(video)) as source:
        assert len(coloured.streams.audio) == 1
        pictures = list(coloured.decode(video=0))
        assert [each.time for each in pictures] == [each.time for each in source.decode(video=0)]
    red, green, blue = pictures[0].to_ndarray(format="rgb24").reshape(-1, 3).mean(axis=0)
    assert red > 240  # right and up, at almost full saturation: between red and violet
    assert blue > green + 30
    assert green < 60


def test_the_video_of_a_stride_shows_every_frame_with_the_latest_flow(tmp_path: Path) -> None:
    """Grey levels that double: flow (10, 20), then (40, 80), on a scale that has grown."""
    video = grey_video(tmp_path / "clip.mkv", 10, 20, 40, 80)
    job = job_of(video, tmp_path / "out")
    list(process_video(job, FlowWork(BRIGHTNESS, FramePlan(stride=2)), ["mp4", "flo"]))
    pictures = pictures_of(tmp_path / "out/clip.flow.mp4")
    assert times_of(tmp_path / "out/clip.flow.mp4") == times_of(video)
    assert np.abs(pictures[0].astype(int) - pictures[1]).mean() < 3
    assert names_in(tmp_path / "out/clip") == ["000000.flo", "000002.flo"]
    meta = meta_of(tmp_path / "out/clip.flow.meta.json")
    assert (meta["first_frame"], meta["stride"], meta["processed_frames"]) == (0, 2, 2)


@pytest.mark.parametrize("formats", [["flo"], ["mp4"], ["brox", "mp4"]])
def test_a_stopped_run_leaves_whole_frames_under_partial_names(
    tmp_path: Path, formats: list[str]
) -> None:
    video = write_video(tmp_path / "clip.mp4", frames=9, width=64, height=64)
    done = run(job_of(video), FlowWork(KNOWN, FramePlan()), formats, after=3)
    assert (done.frames, done.partial) == (3, True)
    assert set(names_in(tmp_path / "out")) == {
        "clip.partial.flow.meta.json",
        *(name for each in formats for name in PARTIAL[each]),
    }
    if "mp4" in formats:
        assert len(pictures_of(tmp_path / "out/clip.partial.flow.mp4")) == 3


PARTIAL = {
    "flo": [f"clip.partial/{number:06d}.flo" for number in range(3)],
    "brox": [f"clip.partial/{number:05d}.jpg" for number in range(1, 4)],
    "mp4": ["clip.partial.flow.mp4"],
}


def test_a_run_that_is_left_alone_completes_partial_files(tmp_path: Path) -> None:
    video = write_video(tmp_path / "clip.mp4", frames=5, width=64, height=64)
    events = process_video(job_of(video), FlowWork(KNOWN, FramePlan()), ["flo"])
    assert isinstance(next(events), DiskNeeded)
    assert next(events) == FrameDone(1, 5)
    events.close()
    assert names_in(tmp_path / "out") == [
        "clip.partial.flow.meta.json",
        "clip.partial/000000.flo",
    ]


def test_a_network_that_fails_half_way_leaves_what_was_done(tmp_path: Path) -> None:
    class Failing(KnownFlow):
        def forward(self, clip: torch.Tensor) -> torch.Tensor:
            if len(self.seen) == 2:
                raise torch.OutOfMemoryError("tried to allocate 2.00 GiB")
            return super().forward(clip)

    video = write_video(tmp_path / "clip.mp4", frames=5, width=64, height=64)
    work = FlowWork(TorchFlow(Failing()), FramePlan())
    error, events = ending(job_of(video), work, ["mp4", "flo", "brox"], UsageError)
    assert "out of memory with 1 pairs of 64x64 px at once" in str(error)
    assert isinstance(events[-1], VideoDone)
    assert (events[-1].frames, events[-1].partial) == (2, True)
    assert names_in(tmp_path / "out") == [
        "clip.partial.flow.meta.json",
        "clip.partial.flow.mp4",
        "clip.partial/000000.flo",
        "clip.partial/000001.flo",
        "clip.partial/00001.jpg",
        "clip.partial/00002.jpg",
    ]
    assert len(pictures_of(tmp_path / "out/clip.partial.flow.mp4")) == 2
    meta = meta_of(tmp_path / "out/clip.partial.flow.meta.json")
    assert (meta["complete"], meta["processed_frames"]) == (False, 2)


def test_a_user_s_folder_that_is_called_like_a_partial_one_is_left_alone(tmp_path: Path) -> None:
    """Pictures numbered as Brox images are, which a run by that name would mix with its own."""
    video = write_video(tmp_path / "clip.mp4", frames=5, width=64, height=64)
    theirs = tmp_path / "out/clip.partial"
    theirs.mkdir(parents=True)
    (theirs / "00001.jpg").write_bytes(b"a photograph")
    for after in (2, 3, None):
        run(job_of(video), FlowWork(KNOWN, FramePlan()), ["brox", "flo"], after=after)
        assert names_in(theirs) == ["00001.jpg"]
        assert (theirs / "00001.jpg").read_bytes() == b"a photograph"
    assert not (tmp_path / "out/clip.partial-2").exists(), "a whole run has all that it had"
    assert len(names_in(tmp_path / "out/clip")) == 10


def test_what_cannot_be_done_says_so(tmp_path: Path) -> None:
    video = write_video(tmp_path / "clip.mp4", frames=1, width=64, height=64)
    work = FlowWork(KNOWN, FramePlan())
    with pytest.raises(UsageError, match="unknown format 'csv'"):
        list(process_video(job_of(video, tmp_path), work, ["csv"]))
    with pytest.raises(OutputError, match="cannot write"):
        list(process_video(job_of(video, video), work, ["flo"]))
    with pytest.raises(VideoError, match="expected a video file, found nothing there"):
        list(process_video(job_of(tmp_path / "absent.mp4", tmp_path), work, ["flo"]))
    assert names_in(tmp_path) == ["clip.mp4"]
