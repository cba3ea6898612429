"""What the program says where a library of an extra is absent."""

import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.jhmdb_layout import add_clip, empty_layout
from tubedet.datasets.cvat import load_cvat
from tubedet.datasets.jhmdb_21 import load_jhmdb_21
from tubedet.errors import UsageError
from tubedet.evaluation.plots import plot_iou_curves
from tubedet.extras import EXTRA_OF
from tubedet.training.run_folder import RunFolder

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


def read_cvat(folder: Path) -> None:
    (folder / "task.xml").write_text("<annotations/>", encoding="utf-8")
    load_cvat(folder)


def read_masks(folder: Path) -> None:
    root = empty_layout(folder / "jhmdb")
    add_clip(root, "golf", "A_golf_f_cm_np1_ri_med_0", np.ones((6, 8, 3), np.uint8))
    load_jhmdb_21(root, part="trainval", require_videos=False)


def draw_curves(folder: Path) -> None:
    plot_iou_curves({"a": [(0.5, 0.1), (0.6, 0.1)]}, folder / "curves.png")


def begin_training(folder: Path) -> None:
    RunFolder(folder / "run")


@pytest.mark.parametrize(
    ("use", "absent", "what"),
    [
        (read_cvat, "defusedxml", "CVAT exports need defusedxml"),
        (read_masks, "scipy.io", "the masks of J-HMDB need scipy"),
        (draw_curves, "matplotlib.figure", "curves need matplotlib"),
        (begin_training, "matplotlib.figure", "curves need matplotlib"),
    ],
)
def test_an_absent_library_is_one_line_that_says_what_to_install(
    use: Callable[[Path], None],
    absent: str,
    what: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, absent, None)
    with pytest.raises(UsageError) as failure:
        use(tmp_path)
    assert str(failure.value) == f"{what}: pip install 'tubedet[train]'"
    assert failure.value.exit_code == 2
    assert not (tmp_path / "run").exists()


def test_every_library_is_in_the_extra_that_is_named_for_it() -> None:
    with PYPROJECT.open("rb") as file:
        project = tomllib.load(file)["project"]
    for library, extra in EXTRA_OF.items():
        assert any(entry.startswith(library) for entry in project["optional-dependencies"][extra])
        assert not any(entry.startswith(library) for entry in project["dependencies"])
