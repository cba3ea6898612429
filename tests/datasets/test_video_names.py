"""Videos found by the names that annotation tools write."""

import unicodedata
from pathlib import Path

import pytest

from tubedet.datasets.video_names import find_video, only_video, without_suffix

NFC, NFD = (unicodedata.normalize(form, "Übung é") for form in ("NFC", "NFD"))


@pytest.mark.parametrize(("written", "on_disk"), [(NFC, NFD), (NFD, NFC)])
@pytest.mark.parametrize("suffix", ["", ".mp4", ".MP4"])
def test_unicode_forms_and_capitals_in_a_suffix_make_no_difference(
    tmp_path: Path, written: str, on_disk: str, suffix: str
) -> None:
    (tmp_path / on_disk).mkdir()
    (tmp_path / on_disk / f"{on_disk}.Mp4").touch()

    found = find_video(tmp_path, f"{written}/{written}{suffix}")

    assert found == tmp_path / on_disk / f"{on_disk}.Mp4"


def test_a_video_of_another_suffix_is_another_video(tmp_path: Path) -> None:
    (tmp_path / "a.avi").touch()

    assert find_video(tmp_path, "a.mp4") is None
    assert find_video(tmp_path, "a") == tmp_path / "a.avi"
    assert find_video(tmp_path, "n" * 300) is None


def test_the_very_name_comes_first(tmp_path: Path) -> None:
    for name in ("a.MP4", "a.mp4", "b.MP4"):
        (tmp_path / name).touch()

    assert find_video(tmp_path, "a.MP4") == tmp_path / "a.MP4"
    assert find_video(tmp_path, "a.mp4") == tmp_path / "a.mp4"


def test_the_only_video_of_a_folder(tmp_path: Path) -> None:
    assert only_video(tmp_path / "absent") is None
    (tmp_path / "a.MOV").touch()
    (tmp_path / "a.xml").touch()
    assert only_video(tmp_path) == tmp_path / "a.MOV"
    (tmp_path / "b.mp4").touch()
    assert only_video(tmp_path) is None


def test_names_of_data_sets_have_no_suffix_of_a_video() -> None:
    assert [without_suffix(name) for name in ("day/a.MP4", "a.b", "a")] == ["day/a", "a.b", "a"]
