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
    footage = [line[:34].strip() for line in lines[1:8]]
    assert footage == [
        "still windows",
        "gliding windows",
        "street.mp4",
        "noise",
        "titles",
        "fades between drawn scenes",
        "all",
    ]
    figures = [line[34:].split() for line in lines[1:8]]
    assert [row[0] for row in figures[:-1]] == ["2", "2", "1", "1", "1", "1"]
    assert [float(row[-2]) for row in figures[2:4]] == [0.01, 0.02]  # 18 and 36 of 1,800 frames
    assert figures[-1] == ["0.08", "0.900"]  # 8 + 8 + 18 + 3 x 36 = 142 frames
    assert lines[9] == "jhmdb-21, test: 8 frames; place and action right"
    table = [line.split() for line in lines[11:]]
    assert [row[0] for row in table[:2]] == ["0.05", "0.10"]
    for min_score, precision, recall, alarms in table:
        shows = float(min_score) < 0.9  # which, as a float32, is a little less
        assert (precision, recall) == (("0.500", "0.500") if shows else ("-", "0.000"))
        assert (float(alarms) > 0) == shows
