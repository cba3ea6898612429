"""A tiny UCF101-24 in the published layout."""

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

REAL_ROOT = Path(__file__).resolve().parents[2] / "shared" / "data" / "ucf101-24"
BIKING = 2


def real_ucf_root() -> Path:
    """The real data; skips the calling test where it is absent."""
    if not REAL_ROOT.is_dir():
        pytest.skip("UCF101-24 (../shared/data/ucf101-24) is not here")
    return REAL_ROOT


def tube(first: int, boxes_xywh: Sequence[Sequence[int]]) -> dict[str, Any]:
    """One actor as the published file has it: narrow integers, an exclusive end."""
    return {
        "label": BIKING,
        "sf": first,
        "ef": first + len(boxes_xywh),
        "boxes": np.array(boxes_xywh, dtype=np.uint8),
    }


def video_record(frames: int, *tubes: dict[str, Any]) -> dict[str, Any]:
    """A video with its actors."""
    return {"annotations": list(tubes), "numf": np.uint8(frames), "label": BIKING}


def write_layout(root: Path, records: dict[str, Any], test: Sequence[str]) -> Path:
    """The annotation files of videos "Biking/<name>"; the folder for their files stays empty."""
    (root / "annotations").mkdir(parents=True)
    (root / "videos" / "Biking").mkdir(parents=True)
    # A file by numpy 2 names a module that numpy 1, which wrote the published one, did not have.
    content = pickle.dumps(records, protocol=3).replace(b"numpy._core", b"numpy.core")
    (root / "annotations" / "pyannot.pkl").write_bytes(content)
    (root / "annotations" / "testlist01.txt").write_text("\n".join(test))  # no final newline
    return root
