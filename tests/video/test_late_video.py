"""A video that begins later than its sound is whole."""

from pathlib import Path

import pytest

from tests.tone_files import write_tones
from tubedet.video.reader import VideoReader


@pytest.mark.parametrize("suffix", ["mkv", "flv", "mp4", "ts"])
def test_a_video_that_begins_after_its_sound_is_not_called_cut_off(
    tmp_path: Path, suffix: str
) -> None:
    codec = "mp3" if suffix == "flv" else "aac"
    source = write_tones(
        tmp_path / f"clip.{suffix}", codec, [500, 500], rate=44_100, start_s=2, sound_starts_s=0
    )
    with VideoReader(source) as reader:
        assert sum(1 for _ in reader.frames()) == 50
        assert [note for note in reader.notes() if note.loss] == []
