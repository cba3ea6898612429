import weakref
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.known_flow import BrightnessFlow, KnownFlow
from tests.lossless_video import write_lossless
from tests.synthetic_video import corrupt, write_video
from tubedet.errors import OutputError, UsageError, VideoError
from tubedet.flow_pipeline import estimate_flow, process_flow
from tubedet.runtime.torch_flow import TorchFlow
from tubedet.video.reader import VideoReader
from tubedet.video_run import FrameDone, VideoDone, VideoJob

KNOWN = TorchFlow(KnownFlow(), device="cpu")


def grey_video(path: Path, *levels: int) -> Path:
    """Plain pictures of 64x64 px, each as bright as told."""
    return write_lossless(path, [np.full((64, 64, 3), level, np.uint8) for level in levels])


def job_for(video: Path, folder: Path) -> VideoJob:
    return VideoJob(video, video.name, folder, video.stem)


def read_flo(path: Path) -> NDArray[np.float32]:
    return np.asarray(cv2.readOpticalFlow(str(path)), np.float32)


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))


def pairs_seen(video: Path) -> list[tuple[int, float, float]]:
    """Every frame's number, and the brightness of the two frames that its flow was made of."""
    with VideoReader(video) as reader:
        found = estimate_flow(reader, TorchFlow(BrightnessFlow(), device="cpu"))
        return [(frame.frame, flow[0, 0, 0], flow[1, 0, 0]) for frame, flow in found]


def test_a_frame_has_the_flow_to_the_next_and_the_last_one_that_of_the_pair_before(
    tmp_path: Path,
) -> None:
    video = grey_video(tmp_path / "clip.mkv", 10, 20, 40)
    assert pairs_seen(video) == [(0, 10, 20), (1, 20, 40), (2, 20, 40)]


def test_a_single_frame_is_its_own_partner(tmp_path: Path) -> None:
    assert pairs_seen(grey_video(tmp_path / "clip.mkv", 10)) == [(0, 10, 10)]


def test_no_flow_spans_a_frame_that_is_lost(tmp_path: Path) -> None:
    video = write_video(tmp_path / "clip.mkv", frames=5, width=64, height=64, codec="ffv1")
    corrupt(video, packets=[2])
    network = KnownFlow()
    with VideoReader(video) as reader:
        found = [frame.frame for frame, _ in estimate_flow(reader, TorchFlow(network))]
        assert reader.skipped_frames == 1
    assert found == [0, 1, 2, 3]
    assert len(network.seen) == 2  # frames 0 and 1, and frames 3 and 4 of the source


def test_frames_are_read_one_ahead_and_none_is_kept(tmp_path: Path) -> None:
    video = grey_video(tmp_path / "clip.mkv", *range(30))
    pictures: list[weakref.ref[NDArray[np.uint8]]] = []
    with VideoReader(video) as reader:
        for frame, _ in estimate_flow(reader, KNOWN):
            assert reader.decoded_frames <= frame.frame + 2
            pictures.append(weakref.ref(frame.rgb))
            assert sum(picture() is not None for picture in pictures) <= 3
    assert len(pictures) == 30


def test_all_formats_tell_the_same_flow(tmp_path: Path) -> None:
    video = write_video(tmp_path / "clip.mp4", frames=4, width=100, height=72, audio=["aac"])
    events = list(process_flow(job_for(video, tmp_path), KNOWN, ["flo", "brox", "mp4"]))
    assert events[:-1] == [FrameDone(done, 4) for done in (1, 2, 3, 4)]
    done = events[-1]
    assert isinstance(done, VideoDone)
    assert done.outputs == (tmp_path / "clip", tmp_path / "clip.flow.mp4")
    assert (done.frames, done.found, done.partial) == (4, None, False)
    assert names(tmp_path / "clip") == [
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


@pytest.mark.parametrize("formats", [["flo"], ["mp4"], ["brox", "mp4"]])
def test_a_stopped_run_leaves_whole_frames_under_partial_names(
    tmp_path: Path, formats: list[str]
) -> None:
    video = write_video(tmp_path / "clip.mp4", frames=9, width=64, height=64)
    answers = iter([False, False, True])
    events = process_flow(
        job_for(video, tmp_path / "out"), KNOWN, formats, stop=lambda: next(answers)
    )
    *_, done = events
    assert isinstance(done, VideoDone)
    assert (done.frames, done.partial) == (3, True)
    expected = {
        "flo": [f"clip.partial/{number:06d}.flo" for number in range(3)],
        "brox": [f"clip.partial/{number:05d}.jpg" for number in range(1, 4)],
        "mp4": ["clip.partial.flow.mp4"],
    }
    files = {name for name in names(tmp_path / "out") if name != "clip.partial"}
    assert files == {name for each in formats for name in expected[each]}


def test_a_run_that_is_left_alone_completes_partial_files(tmp_path: Path) -> None:
    video = write_video(tmp_path / "clip.mp4", frames=5, width=64, height=64)
    events = process_flow(job_for(video, tmp_path / "out"), KNOWN, ["flo"])
    next(events)
    events.close()
    assert [path.name for path in (tmp_path / "out/clip.partial").iterdir()] == ["000000.flo"]


def test_a_network_that_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    class Failing(KnownFlow):
        def forward(self, clip: torch.Tensor) -> torch.Tensor:
            if len(self.seen) == 2:
                raise RuntimeError("out of memory")
            return super().forward(clip)

    video = write_video(tmp_path / "clip.mp4", frames=5, width=64, height=64)
    job = job_for(video, tmp_path / "out")
    with pytest.raises(RuntimeError, match="out of memory"):
        list(process_flow(job, TorchFlow(Failing()), ["mp4", "flo", "brox"]))
    assert list((tmp_path / "out").iterdir()) == []


def test_what_cannot_be_done_says_so(tmp_path: Path) -> None:
    video = write_video(tmp_path / "clip.mp4", frames=1, width=64, height=64)
    with pytest.raises(UsageError, match="unknown format 'csv'"):
        list(process_flow(job_for(video, tmp_path), KNOWN, ["csv"]))
    with pytest.raises(OutputError, match="cannot write"):
        list(process_flow(job_for(video, video), KNOWN, ["flo"]))
    with pytest.raises(VideoError, match="expected a video file, found nothing there"):
        list(process_flow(job_for(tmp_path / "absent.mp4", tmp_path), KNOWN, ["flo"]))
