from pathlib import Path

import pytest

from examples.measure_scoring_speed import made_detections, main, plain_loop
from tests.ucf_layout import tube, video_record, write_layout
from tubedet.datasets.ucf101_24 import load_ucf101_24
from tubedet.evaluation.detection_rows import truth_table
from tubedet.evaluation.frame_map import frame_map


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three videos with one or two actors, and no video file."""
    wide, narrow = [[20, 30, 60, 90]] * 20, [[40, 30, 60, 90]] * 15
    records = {
        f"Biking/v_Biking_g0{group}_c01": video_record(24, tube(2, wide), *others)
        for group, others in enumerate([(), (tube(0, narrow),), (tube(9, narrow),)])
    }
    return write_layout(tmp_path, records, list(records))


def test_both_ways_give_the_same_figures(root: Path) -> None:
    truth = truth_table(load_ucf101_24(root, require_videos=False))
    detections = made_detections(truth, classes=3)

    fast = [at.mean for at in frame_map(detections, truth, (0.2, 0.5, 0.75))]

    slow = [plain_loop(detections, truth, threshold) for threshold in (0.2, 0.5, 0.75)]
    assert fast == pytest.approx(slow, abs=1e-12)
    assert fast[0] > fast[1] > fast[2] > 0


def test_the_ratio_is_printed(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(root)])

    title, *lines = capsys.readouterr().out.splitlines()
    # 20 frames with one actor, twice 22 where a second one begins earlier or ends later.
    assert title == "64 annotated frames, 90 boxes, IoU (0.2, 0.5, 0.75)"
    assert [line.partition(":")[0] for line in lines] == ["frame_map", "plain loop", "ratio"]
    assert lines[0].rpartition("f-mAP")[2] == lines[1].rpartition("f-mAP")[2]
