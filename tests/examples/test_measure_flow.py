from pathlib import Path

import cv2
import pytest
from safetensors.torch import save_file

from examples.measure_flow import main
from tests.drawn_jhmdb import draw_jhmdb, save_small_checkpoint
from tests.small_detector import small_config, small_network
from tests.synthetic_video import write_video


def test_checkpoints_stand_beside_dis_and_no_flow_and_are_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = draw_jhmdb(tmp_path / "jhmdb", {"walk": ["a"], "run": ["b"]})
    weights = save_small_checkpoint(tmp_path / "small.safetensors", "light")
    flow = small_network(small_config("light")).flow
    assert flow is not None
    state = flow.get_submodule("network").state_dict()
    before = tmp_path / "flow.safetensors"
    save_file({name: value.contiguous() for name, value in state.items()}, before)
    video = write_video(tmp_path / "squares.mp4", frames=3)
    picture = tmp_path / "flow.png"

    drawing = ["--picture", str(video), "1", str(picture)]
    options = ["--part=test", "--samples=2", f"--pretrained={before}"]

    main([f"jhmdb-21:{root}", str(weights), *options, *drawing])

    title, _, *rows = capsys.readouterr().out.splitlines()
    assert title == "2 procedural and 2 real pairs of 64x64"
    errors = {}
    for row in rows:
        end_point, photometric, name = row.split(maxsplit=2)
        errors[name] = (float(end_point), float(photometric))
    assert list(errors) == ["zero flow", "DIS-fast", "before tuning", str(weights)]
    assert all(
        dis < zero for dis, zero in zip(errors["DIS-fast"], errors["zero flow"], strict=True)
    )
    assert errors["before tuning"] == errors[str(weights)]  # the same seeded network
    sheet = cv2.imread(str(picture))
    assert sheet is not None
    assert sheet.shape == (64, 6 * 64 + 5 * 4, 3)
