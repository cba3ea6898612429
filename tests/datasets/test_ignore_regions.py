"""Regions of unlabelled people."""

import json
from pathlib import Path

import numpy as np
import pytest

from tubedet.datasets.ignore_regions import IgnoreRegions
from tubedet.errors import DatasetError


def test_a_frame_in_between_takes_the_nearest_examined_one(tmp_path: Path) -> None:
    path = tmp_path / "regions.json"
    path.write_text(json.dumps({"golf/a": {"0": [[1, 2, 3, 4]], "3": []}}))

    regions = IgnoreRegions.load(path)

    np.testing.assert_array_equal(regions.at("golf/a", 1), [[1, 2, 3, 4]])
    assert regions.at("golf/a", 2).shape == (0, 4)
    assert regions.at("golf/a", 40).shape == (0, 4)


def test_an_unknown_video_has_no_region() -> None:
    assert IgnoreRegions({}).at("golf/b", 0).shape == (0, 4)


@pytest.mark.parametrize("content", ["{", "[1]", '{"a": [1]}', '{"a": {"0": [[1, 2]]}}'])
def test_a_file_of_another_shape_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "regions.json"
    path.write_text(content)

    with pytest.raises(DatasetError, match=r"regions\.json: expected ignore regions"):
        IgnoreRegions.load(path)


def test_an_absent_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"none\.json: expected ignore regions"):
        IgnoreRegions.load(tmp_path / "none.json")
