import csv
from pathlib import Path

import pytest

from examples.synthetic_demo import main
from tests.synthetic_video import square_xyxy


def test_the_demo_owns_up_first_and_boxes_the_square_of_every_frame(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(tmp_path)
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("No model detected anything here")
    assert "96 frames, a box in 96 of them:" in said
    assert str(tmp_path / "squares.tubedet.mp4") in said[2]
    with (tmp_path / "squares.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["frame"]) for row in rows] == list(range(96))
    for row in rows[::19]:
        box = [float(row[side]) for side in ("x1", "y1", "x2", "y2")]
        assert box == pytest.approx(square_xyxy(int(row["frame"]), 320, 240), abs=2)
