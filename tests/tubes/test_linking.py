"""Linking on hand-made sequences: who is who, and what a tube is said to do."""

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from tubedet.detections import Detection, FrameDetections
from tubedet.tubes.best_box import SelectionRule
from tubedet.tubes.linking import MOST_MISSED, SCORE_MEMORY, TubeLinker

CLASSES = ("walk", "run")
Box = tuple[float, float, float, float]


def actor(x: float, walk: float, run: float = 0.0, *, y: float = 10.0) -> Detection:
    """A box of 40x80 px at x whose overlap × class probability is `walk` and `run`."""
    label, score = ("walk", walk) if walk >= run else ("run", run)
    box = (x, y, x + 40.0, y + 80.0)
    return Detection(label, CLASSES.index(label), score, box, class_scores=(walk, run))


def linked(
    frames: Sequence[Sequence[Detection]], *, min_score: float = 0.0
) -> list[FrameDetections]:
    linker = TubeLinker(SelectionRule(min_score=min_score, max_boxes=None), CLASSES)
    return [
        linker.link(FrameDetections(number, number, 0.0, tuple(boxes)))
        for number, boxes in enumerate(frames)
    ]


def tubes_by_label(frames: Sequence[FrameDetections]) -> list[dict[str, int | None]]:
    return [{box.label: box.tube for box in found.detections} for found in frames]


def test_a_label_that_flickers_is_that_of_the_mean_of_the_tube_so_far() -> None:
    """By hand: walk's means are 0.6, 0.45, 0.5; run's 0.2, 0.35, 0.3."""
    found = linked([[actor(0, 0.6, 0.2)], [actor(2, 0.3, 0.5)], [actor(4, 0.6, 0.2)]])

    assert [box.detections[0].label for box in found] == ["walk", "walk", "walk"]
    scores = [frame.detections[0].score for frame in found]
    # The overlap is 0.8 in every frame, and all of it goes to the two classes.
    assert scores == pytest.approx([0.6, 0.8 * 0.45 / 0.8, 0.8 * 0.5 / 0.8])


def test_by_overlap_a_box_keeps_its_score_and_gets_the_label_of_its_tube() -> None:
    """As above, of overlap 0.8 and 0.4, of which the latter is below the threshold."""
    frames = [[actor(0, 0.6, 0.2)], [actor(2, 0.3, 0.5)], [actor(4, 0.3, 0.1)]]
    rule = SelectionRule(min_score=0.5, score="overlap")
    linker = TubeLinker(rule, CLASSES)
    found = [
        linker.link(
            FrameDetections(n, n, 0.0, tuple(replace(b, score=sum(b.class_scores)) for b in boxes))
        )
        for n, boxes in enumerate(frames)
    ]
    assert [[(b.label, round(b.score, 6)) for b in each.detections] for each in found] == [
        [("walk", 0.8)],
        [("walk", 0.8)],
        [],
    ]


def test_nothing_is_taken_back_and_a_new_action_wins_in_time() -> None:
    change = SCORE_MEMORY
    found = linked([[actor(0, 0.8)]] * change + [[actor(0, 0.0, 0.8)]] * change)
    labels = [frame.detections[0].label for frame in found]

    first_run = labels.index("run")
    assert set(labels[:first_run]) == {"walk"}
    assert set(labels[first_run:]) == {"run"}
    # (1 - 1/30)^n falls below one half after 20.4 frames.
    assert first_run == change + 20


def test_two_actors_who_cross_keep_their_tubes() -> None:
    steps = range(0, 101, 10)
    frames = [[actor(x, 0.8), actor(100 - x, 0.0, 0.7)] for x in steps]

    found = linked(frames)

    assert tubes_by_label(found) == [{"walk": 0, "run": 1}] * len(frames)
    walkers = [box for frame in found for box in frame.detections if box.tube == 0]
    assert [box.box_xyxy[0] for box in walkers] == list(steps)


def test_a_tube_goes_on_over_missed_frames_where_its_motion_leads() -> None:
    seen = [[actor(10.0 * step, 0.8)] for step in range(4)]
    # Without its motion the box would not overlap with where it was last seen.
    later = [actor(10.0 * (3 + MOST_MISSED + 1), 0.8)]

    found = linked([*seen, *[[]] * MOST_MISSED, later])

    assert found[-1].detections[0].tube == 0


def test_a_tube_missed_for_longer_ends_and_says_so_once() -> None:
    found = linked([[actor(0, 0.8)], *[[]] * (MOST_MISSED + 1), [actor(0, 0.8)]])

    assert [frame.ended_tubes for frame in found] == [(), *[()] * MOST_MISSED, (0,), ()]
    assert found[-1].detections[0].tube == 1


def test_a_cut_begins_a_new_tube_with_scores_of_its_own() -> None:
    found = linked([[actor(0, 0.9)]] * 5 + [[actor(200, 0.3, 0.4)]])

    (after,) = found[-1].detections
    assert (after.tube, after.label) == (1, "run")
    assert after.score == pytest.approx(0.4)


def test_weak_boxes_count_for_their_tube_but_are_shown_by_their_linked_score() -> None:
    frames = [[actor(0, 0.1, 0.0)], [actor(0, 0.6, 0.0)], [actor(0, 0.15, 0.15)]]

    found = linked(frames, min_score=0.25)

    # 0.1 is hidden; then the tube walks for sure, and the last box shows its whole overlap, 0.3.
    assert [[box.score for box in frame.detections] for frame in found] == [
        [],
        [pytest.approx(0.6)],
        [pytest.approx(0.3 * (0.85 / 3) / (1.0 / 3))],
    ]


def test_the_paper_s_rule_stays_one_box_a_frame() -> None:
    linker = TubeLinker(SelectionRule(min_score=0.25), CLASSES)

    assert linker.candidates == SelectionRule(min_score=0.05)


def test_a_tube_that_is_over_is_forgotten() -> None:
    linker = TubeLinker(SelectionRule(min_score=0.0, max_boxes=None), CLASSES)
    for number in range(300):  # a cut at every frame
        linker.link(FrameDetections(number, number, 0.0, (actor(300.0 * number, 0.8),)))

    assert len(linker._tubes) <= MOST_MISSED + 1


def random_frames(seed: int, frames: int = 60) -> list[FrameDetections]:
    """Three actors who walk about, are missed now and then, and change what they do."""
    random = np.random.default_rng(seed)
    return [
        FrameDetections(
            number,
            number,
            number / 25,
            tuple(
                actor(60.0 * who + number * (who - 1) + random.normal(0, 3), *random.random(2) / 2)
                for who in range(3)
                if random.random() < 0.6
            ),
        )
        for number in range(frames)
    ]


def reported(found: FrameDetections) -> FrameDetections:
    """As rows tell it: without what belongs to no row."""
    boxes = tuple(replace(box, class_scores=()) for box in found.detections)
    return replace(found, detections=boxes, ended_tubes=())


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("taken_over", [1, 17, 40, 59])
@pytest.mark.parametrize("classes", [None, frozenset({"run"})])
@pytest.mark.parametrize("repeat_first", [True, False])
def test_a_linker_that_is_restored_goes_on_as_if_nothing_had_happened(
    seed: int, taken_over: int, classes: frozenset[str] | None, repeat_first: bool
) -> None:
    rule = SelectionRule(min_score=0.15, max_boxes=None, classes=classes)
    frames = random_frames(seed)
    undisturbed = TubeLinker(rule, CLASSES)
    found = [undisturbed.link(each) for each in frames[:taken_over]]
    state = json.loads(json.dumps(undisturbed.state()))  # as it lies in a file meanwhile
    expected = found + [undisturbed.link(each) for each in frames[taken_over:]]
    assert any(each.ended_tubes for each in expected)
    assert undisturbed.state()["numbers"] > 3

    other = TubeLinker(rule, CLASSES)
    if not repeat_first:
        other.restore(state)
    again = [other.repeat(reported(each)) for each in found]
    if repeat_first:
        other.restore(state)
    again += [other.link(each) for each in frames[taken_over:]]

    assert again == expected
    assert other.state() == undisturbed.state()


def test_a_state_is_not_changed_by_what_is_linked_later() -> None:
    frames = random_frames(seed=0)
    linker = TubeLinker(SelectionRule(min_score=0.0, max_boxes=None), CLASSES)
    for each in frames[:20]:
        linker.link(each)
    state = linker.state()
    kept = json.dumps(state)
    for each in frames[20:]:
        linker.link(each)
    assert json.dumps(state) == kept


def test_a_filter_links_every_class_and_numbers_tubes_as_without_it() -> None:
    frames = random_frames(seed=1)
    everything = SelectionRule(min_score=0.15, max_boxes=None)
    all_of_them = TubeLinker(everything, CLASSES)
    only_runs = TubeLinker(replace(everything, classes=frozenset({"run"})), CLASSES)
    assert only_runs.candidates == all_of_them.candidates
    for each in frames:
        runs = [box for box in all_of_them.link(each).detections if box.label == "run"]
        assert list(only_runs.link(each).detections) == runs


def test_a_tube_of_which_nothing_is_reported_any_more_ends_for_those_who_see_rows() -> None:
    """It goes on as another action, which is left out."""
    rule = SelectionRule(min_score=0.0, max_boxes=None, classes=frozenset({"walk"}))
    linker = TubeLinker(rule, CLASSES)
    frames = [[actor(0, 0.8)], *[[actor(0, 0.0, 1.0)]] * 40]
    found = [
        linker.link(FrameDetections(number, number, 0.0, tuple(boxes)))
        for number, boxes in enumerate(frames)
    ]
    reported = [each.frame for each in found if each.detections]
    assert reported == [0], "after the second box 0.4 of walking stand against 0.5 of running"
    assert [each.frame for each in found if each.ended_tubes] == [MOST_MISSED + 1]
    assert found[MOST_MISSED + 1].ended_tubes == (0,)
