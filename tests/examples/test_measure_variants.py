from pathlib import Path

import pytest

from examples import measure_variants
from tests.drawn_jhmdb import draw_jhmdb
from tests.scripted_detector import ScriptedDetector


def test_a_detector_that_goes_by_the_picture_gets_the_same_figures_in_every_variant(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # It calls everything "walk", wherever the white square is.
    clips = {"walk": ["a"], "sit": ["b"], "stand": ["c"]}
    root = draw_jhmdb(tmp_path, clips, frames=14, width=128, height=96)
    monkeypatch.setattr(measure_variants, "load_detector", lambda _: ScriptedDetector())

    measure_variants.main([f"jhmdb-21:{root}", "--part", "test"])

    title, columns, *rows = capsys.readouterr().out.splitlines()
    assert title == "jhmdb-21, test: 3 clips, 42 frames"
    assert columns.split() == "frames box right name right both".split()
    names = ["as it is", "15 frames/s", "60 frames/s", "320x240", "1280x720", "backwards"]
    assert [row[:14].strip() for row in rows[:6]] == names
    # Frames 0, 2, 4, 6 and 8 of three clips.
    assert {tuple(row[14:].split()) for row in rows[:6]} == {("15", "100.0", "33.3", "33.3")}
    assert rows[6:] == [
        f"{label}, {way}: 0 % sit, 0 % stand"
        for label in ("sit", "stand")
        for way in ("as it is", "backwards")
    ]
