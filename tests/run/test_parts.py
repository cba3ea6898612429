"""A run over parts of a video leaves what a run over the whole leaves, to the byte."""

import pickle
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.scripted_run import (
    SHORT,
    SIDE,
    TellingDetector,
    inverted,
    job_of,
    run,
    telling_video,
    write_pictures,
)
from tests.small_detector import (
    heed_context,
    learn_statistics,
    seeded_clip,
    small_config,
    small_network,
)
from tests.synthetic_video import corrupt, draw_picture, write_video
from tubedet.batch.earlier_results import Existing, what_is_left
from tubedet.pipeline import process_video
from tubedet.run.detection import DetectionWork
from tubedet.run.part_boxes import FramePart, PartFound
from tubedet.run.parts import split
from tubedet.run.plan import RunPlan
from tubedet.run.stop import StopRequest
from tubedet.runtime.detector import Detector, TemporalReach
from tubedet.runtime.torch_light import TorchLightDetector
from tubedet.tubes.best_box import SelectionRule
from tubedet.video.reader import VideoReader
from tubedet.video.time_range import FrameNumber, Seconds, TimeRange

FRAMES = 80  # so many can be told apart
KEYS = {"preset": "veryfast", "qp": "0", "g": "9", "bf": "2"}
NO_LATENCY = SHORT._replace(seconds_after=0)
ALL_BOXES = SelectionRule(min_score=0, max_boxes=None, nms_iou=None)

New = Callable[[], Detector]


def telling() -> TellingDetector:
    return TellingDetector(SHORT)


def found_in_parts(video: Path, new: New, plan: RunPlan, part_s: float) -> list[PartFound]:
    """Each by a detector of its own, and pickled, as if other processes did it."""
    parts: list[FramePart] = split(video, DetectionWork(new(), plan), part_s=part_s)
    parts = pickle.loads(pickle.dumps(parts))
    found = [
        DetectionWork(new(), plan).find_part(video, part, StopRequest()) for part in reversed(parts)
    ]
    return list(reversed(pickle.loads(pickle.dumps(found))))


def outputs(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def check(
    video: Path,
    tmp_path: Path,
    new: New = telling,
    part_s: float = 0.5,
    formats: tuple[str, ...] = ("csv", "srt"),
    **asked: Any,
) -> tuple[int, Detector]:
    """So many parts there were; and the detector of the run that joined them."""
    plan = RunPlan(**asked)
    found = found_in_parts(video, new, plan, part_s)
    joins = new()
    run(job_of(video, tmp_path / "parts"), DetectionWork(joins, plan, parts=found), formats)
    run(job_of(video, tmp_path / "whole"), DetectionWork(new(), plan), formats)
    assert outputs(tmp_path / "parts") == outputs(tmp_path / "whole")
    return len(found), joins


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of 80 frames at 30 a second, with a key frame every 9."""
    path = tmp_path_factory.mktemp("parts") / "clip.mp4"
    return telling_video(path, frames=FRAMES, fps=Fraction(30), options=KEYS)


SPANS = [
    TimeRange(FrameNumber(11), FrameNumber(70)),
    TimeRange(Seconds(Fraction(1, 7)), Seconds(Fraction(5, 2))),
    TimeRange(FrameNumber(30)),
]


@pytest.mark.parametrize(
    ("temporal", "asked"),
    [
        (SHORT, {}),
        (SHORT, {"rule": ALL_BOXES}),
        (SHORT, {"rule": ALL_BOXES, "link": False}),
        (SHORT, {"smooth": False}),
        (SHORT, {"max_frames": 70}),
        *((SHORT, {"span": span}) for span in SPANS),
        (NO_LATENCY, {"rule": ALL_BOXES}),
        (NO_LATENCY, {"span": SPANS[0]}),
        (None, {"rule": ALL_BOXES}),
        (None, {"find_cuts": True}),
        (None, {"span": SPANS[0]}),
    ],
    ids=str,
)
def test_a_run_over_parts_leaves_what_a_run_over_the_whole_leaves(
    video: Path, tmp_path: Path, temporal: TemporalReach | None, asked: dict[str, Any]
) -> None:
    parts, joins = check(video, tmp_path, lambda: TellingDetector(temporal), **asked)
    assert parts in (3, 4)
    assert isinstance(joins, TellingDetector)
    assert joins.looked == []


def test_pictures_are_drawn_as_those_of_the_whole(video: Path, tmp_path: Path) -> None:
    assert check(video, tmp_path, formats=("mp4", "jsonl"))[0] == 4


@pytest.mark.parametrize("rate", [15, 25])
def test_parts_of_other_rates_leave_what_the_whole_leaves(tmp_path: Path, rate: int) -> None:
    video = telling_video(
        tmp_path / "clip.mkv", frames=FRAMES, fps=Fraction(rate), options={**KEYS, "g": "5"}
    )
    assert check(video, tmp_path, part_s=10 / rate, rule=ALL_BOXES)[0] >= 5


def test_where_the_rate_varies_much_parts_leave_what_the_whole_leaves(tmp_path: Path) -> None:
    """Two frames a second and less, at a nominal rate of 30: boxes depend on seconds more."""
    steps_ms = np.random.default_rng(3).choice([33, 500, 900], FRAMES, p=[0.1, 0.7, 0.2])
    stamps = [0, *np.cumsum(steps_ms[1:]).tolist()]
    video = telling_video(
        tmp_path / "clip.mkv",
        frames=FRAMES,
        fps=Fraction(30),
        timestamps=stamps,
        time_base=Fraction(1, 1000),
        options={**KEYS, "g": "4"},
    )
    with VideoReader(video) as reader:
        assert reader.info.fps == 30
    assert check(video, tmp_path, part_s=6, rule=ALL_BOXES)[0] >= 5


@pytest.mark.parametrize("cut", [34, 35, 36, 37, 38])
def test_cuts_at_and_near_the_border_of_parts_are_those_of_the_whole(
    tmp_path: Path, cut: int
) -> None:
    """A key frame, with which a part begins, is frame 36."""
    pictures = [draw_picture(n, SIDE, 64) for n in range(cut)]
    pictures += [inverted(draw_picture(n, SIDE, 64)) for n in range(cut, FRAMES)]
    keys = {**KEYS, "x264-params": "scenecut=0"}
    video = write_pictures(tmp_path / "clip.mp4", pictures, options=keys)
    assert check(video, tmp_path, part_s=0.6, rule=ALL_BOXES)[0] == 4
    span = TimeRange(None, FrameNumber(cut + 4))
    assert check(video, tmp_path / "to the cut", part_s=0.6, rule=ALL_BOXES, span=span)[0] == 2
    span = TimeRange(None, FrameNumber(cut - 4))
    check(video, tmp_path / "before it", part_s=0.5, rule=ALL_BOXES, span=span)


@pytest.mark.parametrize("span", [TimeRange(), *SPANS], ids=str)
@pytest.mark.parametrize("damaged", [[20, 21], [36], [34, 35, 36, 55]])
def test_a_damaged_video_in_parts_leaves_what_the_whole_leaves(
    tmp_path: Path, damaged: list[int], span: TimeRange
) -> None:
    """Of which packets promise more frames than can be decoded."""
    video = telling_video(tmp_path / "clip.mp4", frames=FRAMES, fps=Fraction(30), options=KEYS)
    corrupt(video, packets=damaged)
    assert check(video, tmp_path, span=span, rule=ALL_BOXES)[0] in (3, 4)


def test_a_part_that_is_lost_is_found_by_the_run_that_joins_the_others(
    video: Path, tmp_path: Path
) -> None:
    plan = RunPlan(rule=ALL_BOXES)
    first, _, *others = found_in_parts(video, telling, plan, 0.5)
    joins = telling()
    work = DetectionWork(joins, plan, parts=[first, *others])
    run(job_of(video, tmp_path / "parts"), work, ("csv",))
    run(job_of(video, tmp_path / "whole"), DetectionWork(telling(), plan), ("csv",))
    assert outputs(tmp_path / "parts") == outputs(tmp_path / "whole")
    assert min(joins.looked) < 18 < max(joins.looked)


def test_a_run_that_goes_on_from_earlier_rows_splits_only_what_is_left(
    video: Path, tmp_path: Path
) -> None:
    plan = RunPlan(rule=ALL_BOXES)
    job = job_of(video, tmp_path / "parts")
    run(job, DetectionWork(telling(), plan), ("csv",), after=21)
    work = DetectionWork(telling(), plan)
    todo = what_is_left(job, work, ["csv"], Existing(resume=True), begun=True)
    again = DetectionWork(telling(), plan, earlier=todo.earlier)

    parts = split(video, again, part_s=0.5)
    assert parts[0].span.start == Seconds(Fraction(21, 30))
    found = [work.find_part(video, part, StopRequest()) for part in parts]
    joined = DetectionWork(telling(), plan, earlier=todo.earlier, parts=found)
    run(job, joined, todo.formats, overwrite=todo.overwrite)

    run(job_of(video, tmp_path / "whole"), DetectionWork(telling(), plan), ("csv",))
    assert (job.folder / "clip.csv").read_bytes() == outputs(tmp_path / "whole")["clip.csv"]


def test_a_part_is_taken_when_the_run_has_come_to_it(video: Path, tmp_path: Path) -> None:
    plan = RunPlan()
    found = found_in_parts(video, telling, plan, 0.5)
    taken: list[int] = []

    def one_by_one() -> Iterator[PartFound]:
        for part in found:
            taken.append(len(frames))
            yield part

    frames: list[Any] = []
    work = DetectionWork(telling(), plan, parts=one_by_one())
    for event in process_video(job_of(video, tmp_path), work, ["csv"]):
        frames.append(event)
    borders = np.cumsum([0, *(len(part.times_s) for part in found[:-1])])
    assert np.all(np.abs(np.array(taken) - borders) < 10)  # some are read ahead, and written behind


def test_the_network_finds_the_same_in_parts_to_the_last_bit(tmp_path: Path) -> None:
    """Of which the second reads from 1.1 s on, and is 5.4 s to 10 s."""
    config = replace(small_config("light"), flow_size=64)
    network = small_network(config)
    heed_context(network)
    learn_statistics(network, seeded_clip(64, batch=4))
    light = TorchLightDetector(network, config, device="cpu", precision="fp32")
    video = write_video(
        tmp_path / "clip.mp4", frames=150, width=96, height=64, fps=Fraction(15), options=KEYS
    )
    rule = SelectionRule(min_score=0, max_boxes=3)
    _, second = split(video, DetectionWork(light, RunPlan()), part_s=5)
    assert second.before_s is not None
    assert 4 < second.before_s < Fraction(81, 15)
    assert check(video, tmp_path, lambda: light, part_s=5, rule=rule)[0] == 2


@pytest.mark.parametrize(
    ("name", "part_s", "asked"),
    [
        ("clip.mp4", 1.5, {}),
        ("clip.mp4", 0.5, {"stride": 2}),
        ("clip.mp4", 0.5, {"batch_size": 2}),
        ("clip.mp4", 0.5, {"max_frames": 5}),
        ("clip.ts", 0.5, {}),
        ("nothing there.mp4", 0.5, {}),
    ],
    ids=str,
)
def test_what_is_short_or_in_doubt_goes_as_a_whole(
    tmp_path: Path, name: str, part_s: float, asked: dict[str, Any]
) -> None:
    if name.startswith("clip"):
        telling_video(tmp_path / name, frames=FRAMES, fps=Fraction(30), options=KEYS)
    work = DetectionWork(telling(), RunPlan(**asked))
    assert split(tmp_path / name, work, part_s=part_s) == []


def test_parts_begin_with_key_frames_and_reach_back_as_far_as_boxes_depend(video: Path) -> None:
    parts = split(video, DetectionWork(telling(), RunPlan()), part_s=0.5)
    starts = [part.span.start for part in parts]
    assert starts == [Seconds(Fraction(n, 30)) for n in (0, 18, 36, 54)]
    assert [part.span.end for part in parts] == [*starts[1:], None]
    # 0.27 s of smoothing and 0.2 s of window, then 3 + 2 steps of 1/15 s: before frame 36, of
    # which frame 21 is 0.5 s away, frames 20, 18, …, 12; then 3 that cuts are told from.
    assert parts[2].before_s is not None
    assert parts[2].before_s >= Fraction(36 - 9, 30)
