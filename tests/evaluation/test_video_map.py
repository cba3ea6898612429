"""Video-mAP: the published tube IoU, and tubes worked out by hand."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
import pytest

from tests.golden import reference_json
from tubedet.errors import DatasetError
from tubedet.evaluation.frame_map import DETECTION_COLUMNS, TRUTH_COLUMNS
from tubedet.evaluation.rules import RULES, ScoringRule, TubeRule
from tubedet.evaluation.video_map import tube_overlaps, video_map

Box = tuple[float, float, float, float]
BOX: Box = (0, 0, 10, 10)
HALF: Box = (0, 0, 10, 5)
FAR: Box = (50, 50, 60, 60)


def tube(
    frames: Iterable[int], box: Box = BOX, *, number: int = 0, video: str = "v", label: int = 0
) -> list[tuple[object, ...]]:
    return [(video, frame, label, *box, number) for frame in frames]


def true_tubes(*tubes: list[tuple[object, ...]]) -> pd.DataFrame:
    return pd.DataFrame([row for each in tubes for row in each], columns=[*TRUTH_COLUMNS, "tube"])


def found_tubes(*tubes: tuple[float, list[tuple[object, ...]]]) -> pd.DataFrame:
    """Pairs of a score and its tube."""
    rows = [
        (video, frame, label, score, *rest)
        for score, each in tubes
        for video, frame, label, *rest in each
    ]
    return pd.DataFrame(rows, columns=[*DETECTION_COLUMNS, "tube"])


def overlap(
    found: list[tuple[object, ...]], true: list[tuple[object, ...]], rule: TubeRule
) -> float:
    pairs = tube_overlaps(
        true_tubes(found).assign(number=0), true_tubes(true).assign(number=0), rule
    )
    return float(pairs["iou"].sum())


def precision(
    found: pd.DataFrame, true: pd.DataFrame, threshold: float, rule: str = "tubedet"
) -> float:
    (at,) = video_map(found, true, [threshold], RULES[rule])
    return at.mean


def test_the_published_tube_gives_the_published_overlap_with_and_without_the_last_pixel() -> None:
    expected = reference_json("toy_eval.json")
    example = expected["tube_iou_example"]
    # gt "frames 1..10, box 10,10,59,109", det "frames 4..12, box 10,10,59,89"
    true, found = tube(range(1, 11), (10, 10, 59, 109)), tube(range(4, 13), (10, 10, 59, 89))
    in_space, no_plus = TubeRule(time_counts=False), TubeRule()

    assert overlap(found, true, no_plus) == pytest.approx(example["st_iou"], abs=1e-12)
    assert overlap(found, true, in_space) == pytest.approx(example["spatial_iou"], abs=1e-12)
    act = overlap(found, true, RULES["act"].tubes)
    assert act == pytest.approx(example["st_iou_plus1"], abs=1e-12)
    assert act == pytest.approx(expected["reference_code_outputs"]["moc_iou3dt"], abs=1e-12)
    yowo = overlap(found, true, RULES["yowo"].tubes)
    assert yowo == pytest.approx(example["spatial_iou_plus1"], abs=1e-12)
    assert act / yowo == pytest.approx(example["temporal_iou"], abs=1e-12)


def test_gurkirts_detections_alone_grow_by_a_pixel() -> None:
    found, true = tube(range(4), (10, 10, 59, 89)), tube(range(4), (10, 10, 60, 110))

    assert overlap(found, true, RULES["gurkirt"].tubes) == pytest.approx(50 * 80 / (50 * 100))


def test_one_common_frame_is_not_enough_for_gurkirt() -> None:
    found, true = tube(range(3)), tube(range(2, 5))

    assert overlap(found, true, TubeRule()) == pytest.approx(1 / 5)
    assert overlap(found, true, RULES["gurkirt"].tubes) == 0.0


@pytest.mark.parametrize(("rule", "expected"), [("tubedet", 1.0), ("gurkirt", 0.0)])
def test_an_overlap_of_exactly_the_threshold_is_enough_but_for_gurkirt(
    rule: str, expected: float
) -> None:
    # 5 of 10 frames: half, and boxes so wide that gurkirt's pixel is not needed to fill the truth.
    found = found_tubes((0.9, tube(range(5), (0, 0, 9, 9) if rule == "gurkirt" else BOX)))

    assert precision(found, true_tubes(tube(range(10))), 0.5, rule) == expected


def test_the_better_of_two_tubes_takes_the_actor_and_the_other_is_a_false_alarm() -> None:
    true = true_tubes(tube(range(10)), tube(range(10), FAR, number=1))
    found = found_tubes(
        (0.9, tube(range(10), number=4)),
        (0.8, tube(range(10), number=5)),
        (0.7, tube(range(10), FAR, number=6)),
    )

    (at,) = video_map(found, true, [0.5])

    assert at.curves[0].recall.tolist() == [0.5, 0.5, 1.0]
    assert at.mean == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_a_tube_has_the_mean_score_of_its_boxes() -> None:
    true = true_tubes(tube(range(2)))
    high_once = [(0.9, tube([0], FAR, number=1)), (0.1, tube([1], FAR, number=1))]
    found = found_tubes(*high_once, (0.6, tube(range(2), number=2)))

    assert precision(found, true, 0.5) == 1.0


def test_numbers_of_different_videos_and_labels_are_different_tubes() -> None:
    true = true_tubes(tube(range(4), video="a"), tube(range(4), video="b", label=1))
    found = found_tubes((0.9, tube(range(4), video="a")), (0.9, tube(range(4), video="b", label=1)))

    assert precision(found, true, 0.9) == 1.0
    assert precision(found.assign(class_index=0), true, 0.9) == 0.5


def test_boxes_without_a_tube_do_not_count() -> None:
    true = true_tubes(tube(range(4)))
    found = found_tubes((0.9, tube(range(4))), (1.0, tube(range(4), FAR, number=1)))
    found.loc[found["tube"] == 1, "tube"] = np.nan

    assert precision(found, true, 0.9) == 1.0


def test_act_suppresses_a_second_tube_and_yowo_keeps_three() -> None:
    true = true_tubes(tube(range(4)), tube(range(4), FAR, number=1))
    doubles = [(0.9 - n / 10, tube(range(4), number=n)) for n in range(3)]
    found = found_tubes(*doubles, (0.1, tube(range(4), FAR, number=9)))

    recalls = {
        name: video_map(found, true, [0.5], RULES[name])[0].curves[0].recall.tolist()
        for name in ("tubedet", "act", "yowo")
    }
    assert recalls == {
        "tubedet": [0.5, 0.5, 0.5, 1.0],
        "act": [0.5, 1.0],
        "yowo": [0.5, 0.5, 0.5],
    }


def plain_video_precision(
    found: pd.DataFrame, true: pd.DataFrame, threshold: float
) -> dict[int, list[bool]]:
    """The rule in plain loops over sets of frames: which tubes are correct, by falling score."""

    def tubes(table: pd.DataFrame) -> dict[tuple[object, ...], dict[int, list[float]]]:
        made: dict[tuple[object, ...], dict[int, list[float]]] = {}
        for row in table.itertuples():
            key = (row.video, row.class_index, row.tube)
            made.setdefault(key, {})[int(row.frame)] = [row.x1, row.y1, row.x2, row.y2]  # type: ignore[arg-type,list-item]
        return made

    def iou(a: list[float], b: list[float]) -> float:
        wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
        both = max(wide, 0) * max(high, 0)
        return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)

    free = tubes(true)
    outcome: dict[int, list[bool]] = {}
    scores: dict[object, float] = (
        found.groupby(["video", "class_index", "tube"])["score"].mean().to_dict()
    )
    of_found = tubes(found)
    for key in sorted(of_found, key=lambda k: -scores[k]):
        best, taken = 0.0, None
        for other in [k for k in free if k[:2] == key[:2]]:
            common = of_found[key].keys() & free[other].keys()
            either = of_found[key].keys() | free[other].keys()
            total = sum(iou(of_found[key][t], free[other][t]) for t in common)
            if total / len(either) > best:
                best, taken = total / len(either), other
        if best >= threshold and taken is not None:
            del free[taken]
        outcome.setdefault(int(key[1]), []).append(best >= threshold)  # type: ignore[call-overload]
    return outcome


@pytest.mark.parametrize("seed", range(6))
def test_random_tubes_agree_with_plain_loops(seed: int) -> None:
    rng = np.random.default_rng(seed)

    def random_tube(number: int) -> list[tuple[object, ...]]:
        first, length = rng.integers(0, 6), rng.integers(2, 8)
        x, y = rng.integers(0, 6, 2).tolist()
        frames = range(first, first + length)
        video, label = f"v{rng.integers(2)}", int(rng.integers(2))
        return tube(frames, (x, y, x + 10, y + 10), number=number, video=video, label=label)

    true = true_tubes(*(random_tube(n) for n in range(12)))
    found = found_tubes(*((float(rng.random()), random_tube(n)) for n in range(40)))

    (at,) = video_map(found, true, [0.3])

    expected = plain_video_precision(found, true, 0.3)
    assert any(map(any, expected.values()))
    for index, curve in at.curves.items():
        hits = np.diff(curve.recall, prepend=0.0) > 0
        assert hits.tolist() == expected[index]


def test_two_boxes_of_a_tube_in_one_frame_are_refused() -> None:
    twice = found_tubes((0.9, tube([3, 3])))

    with pytest.raises(DatasetError, match="found two in frame 3 of tube 0"):
        video_map(twice, true_tubes(tube([3])), [0.5])


def test_no_tube_and_no_truth() -> None:
    none = found_tubes()

    assert precision(none, true_tubes(tube([3])), 0.5) == 0.0
    assert precision(found_tubes((0.9, tube([3], FAR))), true_tubes(tube([3])), 0.5) == 0.0
    with pytest.raises(DatasetError, match="nothing is annotated"):
        video_map(none, true_tubes(), [0.5])


def test_the_mean_is_over_the_classes_of_the_rule() -> None:
    true, found = true_tubes(tube([3])), found_tubes((0.9, tube([3])))
    every_class = ScoringRule("all", over_all_classes=True)

    assert [at.mean for at in video_map(found, true, [0.5], every_class, class_count=4)] == [0.25]
