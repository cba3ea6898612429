from pathlib import Path

import pytest

from examples import measure_motion
from tests.drawn_jhmdb import draw_jhmdb, save_small_checkpoint
from tests.scripted_detector import ScriptedDetector


def test_a_detector_of_first_frames_gets_the_same_figures_three_times(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = draw_jhmdb(tmp_path, {"walk": ["a"], "run": ["b"]}, height=64)
    # It calls everything "walk", with one score: of "run", which comes first, nothing is right, of
    # "walk" the last 4 of 8, an average precision of 1/2.
    monkeypatch.setattr(measure_motion, "load_detector", lambda _: ScriptedDetector())

    measure_motion.main([f"jhmdb-21:{root}", "--part", "test"])

    title, columns, *rows, protocol = capsys.readouterr().out.splitlines()
    assert title == "jhmdb-21, test: 2 clips, 8 frames"
    assert columns.split() == "second frame f-mAP@0.2 f-mAP@0.5 f-mAP@0.75 box right".split()
    assert [row[:20].strip() for row in rows] == [
        "as it is",
        "copy of the first",
        "of another clip",
    ]
    assert {tuple(row[20:].split()) for row in rows} == {("25.0", "25.0", "25.0", "100.0")}
    assert protocol.startswith("f-mAP on annotated frames")


def test_a_network_is_measured_from_its_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = draw_jhmdb(tmp_path, {"walk": ["a", "b"]}, frames=2)
    weights = save_small_checkpoint(tmp_path / "small.safetensors")

    measure_motion.main([f"jhmdb-21:{root}", "--part", "test", "--weights", str(weights)])

    rows = capsys.readouterr().out.splitlines()[2:5]
    assert all(0 <= float(figure) <= 100 for row in rows for figure in row[20:].split())
