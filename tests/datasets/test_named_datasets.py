"""Data sets by name, as commands take them."""

from pathlib import Path

import pytest

from tests.jhmdb_layout import real_jhmdb_root
from tubedet.datasets.named_datasets import load_named_dataset
from tubedet.errors import DatasetError, UsageError


def test_a_name_and_a_path_load_the_data() -> None:
    data = load_named_dataset(f"jhmdb-21:{real_jhmdb_root()}", 1, "validation")

    assert (data.name, data.part) == ("jhmdb-21", "validation")


@pytest.mark.parametrize("text", ["jhmdb-21", "jhmdb-21:", "imagenet:/data", ":/data"])
def test_another_shape_or_name_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected NAME:PATH with a NAME of jhmdb-21"):
        load_named_dataset(text, 1, "test")


def test_an_absent_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="expected the folder of jhmdb-21"):
        load_named_dataset(f"jhmdb-21:{tmp_path / 'none'}", 1, "test")
