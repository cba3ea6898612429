"""A tiny J-HMDB-21 in the published layout: all classes have a split list, clips come singly."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.io import savemat

from tubedet.labels import JHMDB_21

REAL_ROOT = Path(__file__).resolve().parents[2] / "shared" / "data" / "jhmdb-21"


def real_jhmdb_root() -> Path:
    """The real data; skips the calling test where it is absent."""
    if not REAL_ROOT.is_dir():
        pytest.skip("J-HMDB-21 (../shared/data/jhmdb-21) is not here")
    return REAL_ROOT


def empty_layout(root: Path) -> Path:
    """Split lists of all classes, without a clip."""
    (root / "splits").mkdir(parents=True)
    for label in JHMDB_21:
        (root / "splits" / f"{label}_test_split1.txt").write_text("")
    return root


def list_clip(root: Path, label: str, clip: str, mark: int = 1) -> None:
    """Name a clip in the list of split 1: 1 = training, 2 = test."""
    with (root / "splits" / f"{label}_test_split1.txt").open("a", encoding="utf-8") as file:
        file.write(f"{clip}.avi {mark}\n")


def video_path(root: Path, label: str, clip: str) -> Path:
    """Where the clip's video belongs; its folder is made."""
    path = root / "ReCompress_Videos" / label / f"{clip}.avi"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def write_mask(root: Path, label: str, clip: str, mask: NDArray[np.uint8]) -> Path:
    """Save the mask (H, W, T) of a clip as MATLAB does."""
    path = root / "puppet_mask" / label / clip / "puppet_mask.mat"
    path.parent.mkdir(parents=True)
    savemat(path, {"part_mask": mask}, do_compression=True)
    return path


def add_clip(root: Path, label: str, clip: str, mask: NDArray[np.uint8], mark: int = 1) -> None:
    """List a clip and save its mask; the video is an empty file, which the reader never opens."""
    list_clip(root, label, clip, mark)
    video_path(root, label, clip).touch()
    write_mask(root, label, clip, mask)
