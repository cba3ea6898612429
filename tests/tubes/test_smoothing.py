"""Steadying boxes, by hand-made sequences and beside a slow twin that holds the whole video."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from tubedet.boxes import iou_xyxy
from tubedet.detections import Detection
from tubedet.tubes.smoothing import (
    MOST_MISSED,
    SAME_ACTOR_IOU,
    WINDOW_S,
    BoxXyxy,
    TimedBoxes,
    smooth,
)

Boxes = tuple[Detection, ...]
Frame = TimedBoxes[int]


def actor(x: float, y: float = 10.0, *, label: str = "walk", score: float = 0.5) -> Detection:
    """A box of 40x80 px at (x, y)."""
    return Detection(label, 0, score, (x, y, x + 40.0, y + 80.0), class_scores=(score, 0.1))


def video(frames: Sequence[Boxes | None], *, fps: int = 30) -> list[Frame]:
    """Frames at a constant rate that all vote; the payload is the number of the frame."""
    return [TimedBoxes(n, Fraction(n, fps), boxes) for n, boxes in enumerate(frames)]


def xs(frames: Sequence[Frame]) -> list[list[float]]:
    """The left sides of every frame's boxes."""
    return [[box.box_xyxy[0] for box in frame.detections or ()] for frame in frames]


def smoothed(frames: Sequence[Frame]) -> list[Frame]:
    return list(smooth(frames))


def twin(frames: Sequence[Frame]) -> list[list[BoxXyxy]]:
    """The boxes of every frame by the whole list: shot by shot, index by index, numpy's median."""
    shots = np.cumsum([frame.begins_shot for frame in frames])

    def chain(box: BoxXyxy, indices: Sequence[int]) -> list[BoxXyxy]:
        boxes, missed = [], 0
        for index in indices:
            others = np.array([each.box_xyxy for each in frames[index].detections or ()])
            overlaps = iou_xyxy(np.array(box), others)[0] if len(others) else np.zeros(1)
            if overlaps.max() < SAME_ACTOR_IOU:
                missed += 1
                if missed > MOST_MISSED:
                    break
                continue
            missed = 0
            x1, y1, x2, y2 = others[overlaps.argmax()].tolist()
            boxes.append(box := (x1, y1, x2, y2))
        return boxes

    result = []
    for at, frame in enumerate(frames):
        voting = [
            index
            for index, other in enumerate(frames)
            if other.is_support
            and other.detections is not None
            and shots[index] == shots[at]
            and abs(float(other.time_s) - float(frame.time_s)) <= WINDOW_S
        ]
        boxes = []
        for detection in frame.detections or ():
            before = chain(detection.box_xyxy, [index for index in voting[::-1] if index < at])
            after = chain(detection.box_xyxy, [index for index in voting if index > at])
            most = min(len(before), len(after))
            votes = [detection.box_xyxy, *before[:most], *after[:most]]
            x1, y1, x2, y2 = np.median(votes, axis=0).tolist()
            boxes.append((x1, y1, x2, y2))
        result.append(boxes)
    return result


def disorder(seed: int, frames: int = 120) -> list[Frame]:
    """Actors who wander, vanish and come, in shots, at a changing rate, not all looked at."""
    random = np.random.default_rng(seed)
    places = random.uniform(50, 250, (4, 2))
    time_s, made = Fraction(0), []
    for number in range(frames):
        places = (places + random.normal(0, 4, places.shape)).clip(0, 300)
        seen = places[random.random(4) < 0.8] + random.normal(0, 3, 2)
        boxes = tuple(actor(x, y) for x, y in seen.tolist())
        looked_at, is_support, begins_shot = random.random(3) < (0.9, 0.6, 0.05)
        made.append(
            TimedBoxes(
                number, time_s, boxes if looked_at else None, bool(is_support), bool(begins_shot)
            )
        )
        time_s += Fraction(int(random.integers(4, 17)), 256)
    return made


@pytest.mark.parametrize("seed", range(8))
def test_it_gives_what_a_twin_gives_that_holds_the_whole_video(seed: int) -> None:
    frames = disorder(seed)

    found = smoothed(frames)

    assert [[box.box_xyxy for box in frame.detections or ()] for frame in found] == twin(frames)


def test_an_outlier_of_a_still_box_is_moved_back_and_moves_nobody_else() -> None:
    frames = video([(actor(0 if n != 10 else 15),) for n in range(21)])

    assert xs(smoothed(frames)) == [[0]] * 21


def test_every_coordinate_is_the_median_of_its_own() -> None:
    """Three votes; by hand, x1 of 0, 4, 2 and y1 of 10, 11, 18."""
    frames = video([(actor(0, 10),), (actor(4, 11),), (actor(2, 18),)])

    (box,) = smoothed(frames)[1].detections or ()
    assert box.box_xyxy == (2, 11, 42, 91)


@pytest.mark.parametrize("fps", [10, 25, 30, 60])
@pytest.mark.parametrize("grid_fps", [15, 1000])
def test_an_actor_of_constant_speed_keeps_its_boxes_up_to_the_ends(fps: int, grid_fps: int) -> None:
    """Some frames vote: the first behind every tick of a grid; at 25 a second they are uneven."""
    frames = video([(actor(3.0 * n),) for n in range(50)], fps=fps)
    ticks = [int(frame.time_s * grid_fps) for frame in frames]
    on_grid = [n == 0 or ticks[n] != ticks[n - 1] for n in range(len(ticks))]
    some_vote = [
        TimedBoxes(n, frame.time_s, frame.detections, on_grid[n]) for n, frame in enumerate(frames)
    ]

    assert smoothed(some_vote) == some_vote


def test_an_actor_of_constant_speed_keeps_its_boxes_at_a_variable_rate() -> None:
    random = np.random.default_rng(0)
    times = np.cumsum(random.uniform(0.005, 0.1, 60)).tolist()
    frames = [TimedBoxes(n, time, (actor(100 * time),)) for n, time in enumerate(times)]

    assert smoothed(frames) == frames


def test_two_actors_who_cross_keep_their_ways() -> None:
    frames = video([(actor(4.0 * n, 10), actor(120 - 4.0 * n, 30)) for n in range(31)])

    assert smoothed(frames) == frames


def test_an_actor_who_comes_and_leaves_keeps_its_boxes_and_disturbs_nobody() -> None:
    still = actor(200)
    frames = video([(still, actor(3.0 * n)) if 10 <= n < 25 else (still,) for n in range(40)])

    assert smoothed(frames) == frames


def test_a_box_is_followed_over_one_frame_without_it_and_no_further() -> None:
    """In frame 2 boxes behind the gap have a vote, unless the gap is longer."""
    short = video([(actor(0),), (actor(0),), (actor(9),), (), (actor(0),), (actor(0),)])
    long = video([(actor(0),), (actor(0),), (actor(9),), (), (), (actor(0),), (actor(0),)])

    assert xs(smoothed(short))[2] == [0]
    assert xs(smoothed(long))[2] == [9]


@pytest.mark.parametrize(("ys", "median_y"), [((12, 8), 12), ((8, 12), 10)])
def test_of_boxes_that_overlap_equally_the_first_is_followed(
    ys: tuple[float, float], median_y: float
) -> None:
    """The other votes are 20 and 10."""
    frames = video([(actor(0, 20),), (actor(0, 10),), tuple(actor(0, y) for y in ys)])

    (box,) = smoothed(frames)[1].detections or ()
    assert box.box_xyxy[1] == median_y


def test_labels_do_not_matter_and_all_but_the_box_is_kept() -> None:
    frames = video(
        [
            (actor(0, label="run", score=0.9),),
            (actor(9, label="walk", score=0.3),),
            (actor(0, label="run", score=0.9),),
        ]
    )

    found = smoothed(frames)

    (box,) = found[1].detections or ()
    assert (box.label, box.score, box.class_scores) == ("walk", 0.3, (0.3, 0.1))
    assert box.box_xyxy[0] == 0
    assert [frame.payload for frame in found] == [0, 1, 2]


def test_votes_do_not_cross_the_start_of_a_shot() -> None:
    places = [0.0, 0.0, 9.0, 9.0, 0.0, 0.0]
    one_shot = video([(actor(x),) for x in places])
    shots = [TimedBoxes(n, f.time_s, f.detections, True, n == 3) for n, f in enumerate(one_shot)]

    assert xs(smoothed(one_shot)) == [[0], [0], [0], [0], [0], [0]]
    assert xs(smoothed(shots)) == [[0], [0], [9], [9], [0], [0]]


def test_a_frame_that_was_not_looked_at_stays_so_and_may_begin_a_shot() -> None:
    frames = [
        TimedBoxes(n, Fraction(n, 30), None if n == 2 else (actor(x),), True, n == 2)
        for n, x in enumerate([0.0, 9.0, 0.0, 0.0, 9.0])
    ]

    found = smoothed(frames)

    assert found[2].detections is None
    assert xs(found) == [[0], [9], [], [0], [9]]


def test_frames_not_looked_at_are_not_missed() -> None:
    seen = video([(actor(0),), (actor(0),), (actor(9),), None, None, None, (actor(0),)])

    assert xs(smoothed(seen))[2] == [0]


def test_a_frame_without_a_vote_has_one_in_its_own_boxes_alone() -> None:
    places = [0.0, 6.0, 3.0]

    def with_votes(*support: bool) -> list[Frame]:
        return [
            TimedBoxes(n, Fraction(n, 30), (actor(x),), is_support)
            for n, (x, is_support) in enumerate(zip(places, support, strict=True))
        ]

    assert xs(smoothed(with_votes(True, False, True))) == [[0], [3], [3]]
    assert xs(smoothed(with_votes(False, True, True))) == [[0], [6], [3]]


def test_the_window_ends_behind_eight_frames_of_thirty_a_second_even_on_a_rounded_clock() -> None:
    """Nine boxes of 17 at x = 9 outvote those at 0; eight do not, and farther ones don't help."""

    def middle(nines: set[int], ntsc: bool) -> float:
        rate = Fraction(30000, 1001) if ntsc else Fraction(30)
        frames = [
            TimedBoxes(n, round(float(n / rate), 3), (actor(9.0 if n in nines else 0.0),))
            for n in range(41)
        ]
        return xs(smoothed(frames))[20][0]

    for ntsc in (False, True):
        assert middle({*range(12, 16), *range(24, 29)}, ntsc) == 9
        assert middle({*range(13, 16), *range(24, 29), 11, 29}, ntsc) == 0


def test_a_run_that_starts_anywhere_agrees_where_it_has_seen_the_window() -> None:
    frames = disorder(11)
    whole = smoothed(frames)

    for start in (1, 17, 40, 77):
        settled = [
            n for n in range(start, 120) if frames[n].time_s - frames[start].time_s > WINDOW_S
        ]
        part = smoothed(frames[start:])
        assert [part[n - start] for n in settled] == [whole[n] for n in settled]


def test_a_frame_waits_for_its_window_and_no_longer() -> None:
    taken: list[int] = []

    def taking() -> Iterator[Frame]:
        for frame in video([(actor(0),)] * 30):
            taken.append(frame.payload)
            yield replace(frame, begins_shot=frame.payload == 20)

    steadied = smooth(taking())

    assert (next(steadied).payload, taken[-1]) == (0, 9)
    assert (next(steadied).payload, taken[-1]) == (1, 10)
    assert [next(steadied).payload for _ in range(11)][-1] == 12
    assert taken[-1] == 20  # a new shot: nothing of the old one is held any more
    assert (next(steadied).payload, taken[-1]) == (13, 20)


def test_scores_become_the_mean_of_the_actors_in_the_window_where_that_is_asked() -> None:
    # Frame 4 is of another actor, and frame 20 too far from frame 2.
    scores = [0.2, 0.9, 0.4, 0.7, 0.1, 0.6, 0.3, *[0.5] * 13, 1.0]
    frames = video([(actor(500 if n == 4 else 0, score=s),) for n, s in enumerate(scores)])
    plain = smoothed(frames)
    assert [each.detections[0].score for each in plain if each.detections] == scores
    steadied = list(smooth(frames, with_scores=True))
    assert [each.time_s for each in steadied] == [each.time_s for each in frames]
    found = [each.detections[0] for each in steadied if each.detections]
    seen = [n for n in range(0, 11) if n != 4]
    assert found[2].score == pytest.approx(np.mean([scores[n] for n in seen]))
    assert found[4].score == pytest.approx(0.1)
    assert found[20].score == pytest.approx(np.mean(scores[12:]))
    assert found[2].class_scores == (0.4, 0.1)


def test_frames_without_a_vote_add_nothing_to_a_score_but_their_own() -> None:
    frames = video([(actor(0, score=score),) for score in (0.2, 0.9, 0.4, 0.7)])
    frames = [replace(each, is_support=n % 2 == 0) for n, each in enumerate(frames)]
    found = [
        each.detections[0].score for each in smooth(frames, with_scores=True) if each.detections
    ]
    assert found == pytest.approx([0.3, np.mean([0.2, 0.4, 0.9]), 0.3, np.mean([0.2, 0.4, 0.7])])


def test_a_score_does_not_cross_the_start_of_a_shot() -> None:
    frames = video([(actor(0, score=score),) for score in (0.2, 0.4, 0.9, 0.7)])
    frames[2] = replace(frames[2], begins_shot=True)
    found = [
        each.detections[0].score for each in smooth(frames, with_scores=True) if each.detections
    ]
    assert found == pytest.approx([0.3, 0.3, 0.8, 0.8])
