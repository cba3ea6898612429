"""Tags, names, chapters and text subtitles of a source are in its MP4."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from av.subtitles.subtitle import AssSubtitle

from tests.output_targets import target_for, write_mp4
from tests.tone_files import FPS, MS, Cue, frames_at, with_chapters_and_subtitles, write_tones
from tubedet.notes import Note
from tubedet.writers.mp4 import Mp4Writer


def rich_file(path: Path, cues: Sequence[Cue] = (), codec: str = "subrip", **tags: str) -> Path:
    """A 4 s video with tags, chapters of 0-1 s, 1-2.5 s and 2.5-4 s, and a track of subtitles."""
    plain = write_tones(path.with_name("plain.mkv"), "flac", [500, 500], seconds=4)
    limits = [0, 1000, 2500, 4000]
    return with_chapters_and_subtitles(
        path, plain, limits_ms=limits, cues=cues, codec=codec, tags=tags
    )


def movie_of(
    folder: Path, source: Path, first: int = 0, last: int = 4 * FPS, **changes: Any
) -> tuple[Path, Mp4Writer]:
    times = [Fraction(n, FPS) for n in range(first, last)]
    return write_mp4(target_for(folder / "out", source, **changes), frames_at(times))


def cues_of(path: Path) -> list[Cue]:
    """The texts that are shown, as a player decodes them."""
    with av.open(str(path)) as file:
        stream = file.streams.subtitles[0]
        found = []
        for packet in file.demux(stream):
            if packet.pts is None:
                continue
            lines = [part.dialogue.decode() for part in packet.decode()
                     if isinstance(part, AssSubtitle)]  # fmt: skip
            if lines:
                tick = packet.time_base / MS
                begin, length = packet.pts * tick, (packet.duration or 0) * tick
                found.append((int(begin), int(begin + length), "\n".join(lines)))
        return found


def chapters_of(path: Path) -> list[Cue]:
    with av.open(str(path)) as file:
        return [
            (int(chapter["start"] * (chapter["time_base"] or 0) / MS),
             int(chapter["end"] * (chapter["time_base"] or 0) / MS), chapter["metadata"]["title"])
            for chapter in file.chapters()
        ]  # fmt: skip


def test_title_date_place_and_the_names_of_tracks_are_carried(tmp_path: Path) -> None:
    tags = {"title": "Straße", "creation_time": "2023-05-06T07:08:09Z", "date": "2023-05-06",
            "location": "+48.8577+002.2950/", "artist": "Somebody"}  # fmt: skip
    source = rich_file(tmp_path / "rich.mkv", [(500, 900, "Hello")], **tags)
    movie, writer = movie_of(tmp_path, source)

    with av.open(str(movie)) as file:
        found = {name.lower(): value for name, value in file.metadata.items()}
        found["creation_time"] = found["creation_time"].replace(".000000", "")
        assert {name: found[name] for name in tags} == tags
        audio, subtitles = file.streams.audio[0], file.streams.subtitles[0]
        assert (audio.metadata["name"], audio.language) == ("Commentary", "deu")
        assert (subtitles.metadata["name"], subtitles.language) == ("For the deaf", "fre")
    assert writer.notes == []


def test_names_of_tracks_survive_a_second_run_over_the_mp4(tmp_path: Path) -> None:
    once, _ = movie_of(tmp_path, rich_file(tmp_path / "rich.mkv"))
    twice, _ = movie_of(tmp_path / "again", once)

    with av.open(str(twice)) as file:
        assert file.streams.audio[0].metadata["name"] == "Commentary"


def test_tags_that_mp4_has_no_place_for_are_named_in_one_note(tmp_path: Path) -> None:
    source = rich_file(tmp_path / "rich.mkv", DIRECTOR="Somebody", RATING="5")
    _, writer = movie_of(tmp_path, source)

    text = "tags that MP4 has no place for are left out: DIRECTOR, RATING"
    assert writer.notes == [Note(text)]


@pytest.mark.parametrize(
    ("first", "last", "cut", "expected"),
    [
        (0, 100, {}, [(0, 1000, "Part 0"), (1000, 2500, "Part 1"), (2500, 4000, "Part 2")]),
        (50, 75, {"cut_start": True, "cut_end": True},
         [(0, 500, "Part 1"), (500, 1000, "Part 2")]),
    ],
    ids=["whole", "from 2 to 3 s"],
)  # fmt: skip
def test_chapters_are_carried_and_cut_with_the_pictures(
    tmp_path: Path, first: int, last: int, cut: dict[str, bool], expected: list[Cue]
) -> None:
    movie, _ = movie_of(tmp_path, rich_file(tmp_path / "rich.mkv"), first, last, **cut)

    assert chapters_of(movie) == expected


@pytest.mark.parametrize("codec", ["subrip", "ass", "webvtt"])
def test_text_subtitles_are_carried_at_their_times(tmp_path: Path, codec: str) -> None:
    cues = [(500, 900, "Hello"), (900, 1500, "Grüße"), (3000, 3500, "two\nlines")]
    if codec == "ass":
        cues[2] = (3000, 3500, "one line")
    source = rich_file(tmp_path / "rich.mkv", cues, codec)
    movie, writer = movie_of(tmp_path, source)
    again, _ = movie_of(tmp_path / "again", movie)  # where they are `mov_text`

    assert cues_of(movie) == cues
    assert cues_of(again) == cues
    assert writer.notes == []


def test_subtitles_that_overlap_are_shown_below_each_other(tmp_path: Path) -> None:
    cues = [(500, 2000, "long"), (1000, 1500, "short")]
    movie, _ = movie_of(tmp_path, rich_file(tmp_path / "rich.mkv", cues))

    assert cues_of(movie) == [
        (500, 1000, "long"), (1000, 1500, "long\nshort"), (1500, 2000, "long"),
    ]  # fmt: skip


def test_subtitles_are_cut_with_the_pictures(tmp_path: Path) -> None:
    cues = [(500, 900, "before"), (1800, 2300, "into it"), (2900, 3500, "out of it"),
            (3600, 3700, "after")]  # fmt: skip
    source = rich_file(tmp_path / "rich.mkv", cues)
    movie, _ = movie_of(tmp_path, source, 50, 75, cut_start=True, cut_end=True)

    assert cues_of(movie) == [(0, 300, "into it"), (900, 1000, "out of it")]


def test_subtitles_that_are_pictures_are_left_out_with_a_note(tmp_path: Path) -> None:
    source = rich_file(tmp_path / "rich.mkv", [(500, 900, "not really one")], "dvd_subtitle")
    movie, writer = movie_of(tmp_path, source)

    with av.open(str(movie)) as file:
        assert not file.streams.subtitles
    text = "subtitle track 1 (dvd_subtitle) is left out: MP4 holds subtitles only as text"
    assert writer.notes == [Note(text, loss=True)]
