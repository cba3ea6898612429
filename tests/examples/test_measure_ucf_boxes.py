from pathlib import Path

import pytest

from examples import measure_ucf_boxes
from tests.drawn_jhmdb import draw_jhmdb
from tests.scripted_detector import ScriptedDetector
from tests.synthetic_video import square_xyxy, write_video
from tests.ucf_layout import tube, video_record, write_layout


def write_video_of_square(root: Path, name: str, frames: int) -> None:
    write_video(root / "videos" / "Biking" / f"{name}.avi", frames=frames, codec="ffv1")


def test_shares_are_of_annotated_frames_beside_the_mean_box_of_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The square of 320x240 is 60 px wide: found by the detector, overlapped by the mean box.
    squares = [square_xyxy(frame, 320, 240) for frame in range(4)]
    followed = [[x1, y1, x2 - x1, y2 - y1] for x1, y1, x2, y2 in squares]
    records = {
        "Biking/v_Biking_g01_c01": video_record(4, tube(0, followed)),
        "Biking/v_Biking_g08_c01": video_record(4, tube(1, [[200, 10, 30, 30]] * 2)),
    }
    root = write_layout(tmp_path / "ucf", records, ["Biking/v_Biking_g01_c01"])
    for name in ("v_Biking_g01_c01", "v_Biking_g08_c01"):
        write_video_of_square(root, name, frames=4)
    jhmdb = draw_jhmdb(tmp_path / "jhmdb", {"walk": ["a"]}, part="trainval", width=320, height=240)
    monkeypatch.setattr(
        measure_ucf_boxes, "load_detector", lambda _: ScriptedDetector(input_size=320)
    )

    measure_ucf_boxes.main([str(root), str(jhmdb)])

    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        ["video", "frames", "detector", "fixed", "box"],
        ["Biking/v_Biking_g01_c01", "4", "100.0", "100.0"],
        ["Biking/v_Biking_g08_c01", "2", "0.0", "0.0"],
        ["all", "6", "66.7", "66.7"],
    ]
