import json
from pathlib import Path

import pytest

from examples import measure_false_alarms
from tests.drawn_jhmdb import draw_jhmdb
from tests.scripted_detector import ScriptedDetector
from tests.synthetic_video import write_video


def test_footage_is_named_with_its_minutes_and_thresholds_with_what_they_give(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = draw_jhmdb(tmp_path / "jhmdb", {"walk": ["a"], "run": ["b"]}, width=96, height=72)
    regions = tmp_path / "regions.json"
    regions.write_text(json.dumps({}))
    video = write_video(tmp_path / "street.mp4", frames=18)
    # Boxes the brightest thing of any frame, always as "walk" and always with 0.9.
    monkeypatch.setattr(measure_false_alarms, "load_detector", lambda _: ScriptedDetector())

    measure_false_alarms.main(
        [f"jhmdb-21:{root}", str(regions), str(video), "--part", "test", "--made-frames", "36"]
    )

    lines = capsys.readouterr().out.splitlines()
    footage = [line[:30].strip() for line in lines[2:10]]
    assert footage == [
        "still windows",
        "gliding windows",
        "street.mp4",
        "noise",
        "titles",
        "fades between drawn scenes",
        "all that is real",
        "all",
    ]
    figures = [line[30:].split() for line in lines[2:10]]
    assert [row[0] for row in figures[:6]] == ["2", "2", "1", "1", "1", "1"]
    assert [float(row[1]) for row in figures[2:4]] == [0.01, 0.02]  # 18 and 36 of 1,800 frames
    assert [row[0] for row in figures[6:]] == ["0.02", "0.08"]  # 8 + 8 + 18, with 3 x 36 142 frames
    assert {row[-12] for row in figures} == {"0.900"}  # the highest score, before eleven thresholds
    assert figures[2][-11:] == ["1800.0"] * 11  # every frame has a box of 0.9
    assert lines[11] == "jhmdb-21, test: 8 frames; place and action right"
    table = [line.split() for line in lines[13:]]
    assert [row[0] for row in table[:2]] == ["0.05", "0.10"]
    for min_score, box_right, precision, recall, alarms in table:
        shows = float(min_score) < 0.9  # which, as a float32, is a little less
        expected = ("1.000", "0.500", "0.500") if shows else ("0.000", "-", "0.000")
        assert (box_right, precision, recall) == expected
        assert (float(alarms) > 0) == shows
