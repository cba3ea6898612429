from pathlib import Path

import cv2
import numpy as np
import pytest

from examples import show_failures
from tests.drawn_jhmdb import draw_jhmdb
from tests.scripted_detector import ScriptedDetector
from tubedet.render.palette import class_color


def test_wrong_frames_of_the_action_are_counted_and_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = draw_jhmdb(tmp_path, {"walk": ["a"], "run": ["b"]}, width=160, height=120)
    sheet = tmp_path / "sheet.png"
    # It finds every square and calls it "walk".
    monkeypatch.setattr(show_failures, "load_detector", lambda _: ScriptedDetector(input_size=160))
    arguments = ["--part", "test", "--pictures", "3"]

    show_failures.main([f"jhmdb-21:{root}", "walk", str(sheet), *arguments])
    assert capsys.readouterr().out.splitlines()[0] == "walk: 4 frames of 1 clips, 0 wrong;"
    assert not sheet.exists()

    show_failures.main([f"jhmdb-21:{root}", "run", str(sheet), *arguments])
    assert capsys.readouterr().out.splitlines() == [
        "run: 4 frames of 1 clips, 4 wrong;",
        "the box is wrong in 0; found in the wrong frames:",
        "     4 walk",
    ]
    drawn = cv2.imread(str(sheet))
    assert drawn is not None
    assert drawn.shape == (120, 3 * 160 + 2 * 4, 3)
    for label in ("walk", "truth"):
        assert (drawn[..., ::-1] == np.array(class_color(label))).all(axis=-1).any()
