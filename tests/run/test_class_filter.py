"""`--class` filters what is reported, and changes neither labels, scores, tubes nor frames."""

from pathlib import Path

import pytest

from tests.scripted_run import CLASSES, TellingDetector, job_of, rows_of, run, telling_video
from tubedet.pipeline import detect_video
from tubedet.run.detection import DetectionWork
from tubedet.run.plan import RunPlan
from tubedet.tubes.best_box import SelectionRule


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return telling_video(tmp_path_factory.mktemp("source") / "clip.mp4")


@pytest.mark.parametrize("max_boxes", [1, 2, None])
@pytest.mark.parametrize("link", [True, False])
@pytest.mark.parametrize("stride", [1, 2])
def test_rows_of_one_class_are_those_that_all_classes_have_of_it(
    tmp_path: Path, video: Path, link: bool, max_boxes: int | None, stride: int
) -> None:
    def rows(classes: frozenset[str] | None) -> list[dict[str, str]]:
        rule = SelectionRule(min_score=0.2, max_boxes=max_boxes, classes=classes)
        plan = RunPlan(rule=rule, link=link, stride=stride)
        job = job_of(video, tmp_path / "-".join(sorted(classes or "all")))
        run(job, DetectionWork(TellingDetector(), plan), ["csv"])
        return rows_of(job.folder / "clip.csv")

    everything = rows(None)
    labels = {row["label"] for row in everything}
    assert len(labels) > 1, "there is something to filter"
    for label in CLASSES:
        assert rows(frozenset({label})) == [row for row in everything if row["label"] == label]
    some = frozenset(CLASSES[:2])
    assert rows(some) == [row for row in everything if row["label"] in some]
    assert rows(frozenset(CLASSES)) == everything


def test_in_python_too(video: Path) -> None:
    rule = SelectionRule(min_score=0.2, max_boxes=None)
    everything = list(detect_video(video, TellingDetector(), rule=rule))
    only = SelectionRule(min_score=0.2, max_boxes=None, classes=frozenset({"run"}))
    filtered = list(detect_video(video, TellingDetector(), rule=only))
    assert [each.frame for each in filtered] == [each.frame for each in everything]
    for some, all_of_them in zip(filtered, everything, strict=True):
        runs = tuple(box for box in all_of_them.detections if box.label == "run")
        assert some.detections == runs
