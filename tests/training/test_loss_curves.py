from pathlib import Path
from typing import Any

import cv2
import pytest

from tubedet.errors import OutputError
from tubedet.training import loss_curves
from tubedet.training.loss_curves import draw_loss_curves
from tubedet.training.run_folder import RunFolder


def log_steps(run: RunFolder, steps: int) -> None:
    for step in range(1, steps + 1):
        run.append({"step": step, "total": 4 * step, "box": 1, "overlap": 2, "label": 3})


def test_the_picture_has_lines_in_it(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    log_steps(run, 3)
    run.append({"step": 3, "validation": {"0.5": 0.25}, "best": True})

    draw_loss_curves(run)

    picture = cv2.imread(str(run.curves))
    assert picture is not None
    assert picture.shape[:2] == (800, 900)  # two panels
    assert len({tuple(pixel) for pixel in picture.reshape(-1, 3)[::7].tolist()}) > 5


def test_long_logs_are_drawn_as_means_of_stretches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: dict[str, Any] = {}

    def keep(panels: dict[str, Any], path: Path) -> None:
        drawn.update(panels)
        path.touch()

    monkeypatch.setattr(loss_curves, "plot_over_steps", keep)
    run = RunFolder(tmp_path)
    log_steps(run, 800)
    run.append({"step": 400, "validation": {"0.2": 0.5, "0.5": 0.25}, "best": True})

    draw_loss_curves(run, "f-mAP on the validation part")

    total = drawn["training loss"]["total"]
    assert len(total) == 400
    assert total[0] == (1.5, 6.0)  # the mean of steps 1 and 2, of losses 4 and 8
    assert drawn["f-mAP on the validation part"] == {
        "IoU 0.2": [(400, 0.5)],
        "IoU 0.5": [(400, 0.25)],
    }


def test_nothing_is_drawn_before_the_first_step(tmp_path: Path) -> None:
    draw_loss_curves(RunFolder(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_picture_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    log_steps(run, 1)
    run.curves.mkdir()
    with pytest.raises(OutputError, match=r"loss\.png: could not be written"):
        draw_loss_curves(run)
