"""What a source says of itself, in the MP4: tags, languages, names of tracks, chapters."""

from collections.abc import Mapping
from fractions import Fraction

from av.container import InputContainer, OutputContainer
from av.stream import Stream

from tubedet.notes import Note

# The tags that MP4 has a place for, by FFmpeg's names.
HELD_TAGS = frozenset(
    """title artist album_artist composer album date comment genre copyright grouping lyrics
    description synopsis show episode_id network keywords track disc compilation creation_time
    location""".split()
)
# The same under the names that other containers have for them.
OTHER_NAMES = {
    "com.apple.quicktime.title": "title",
    "com.apple.quicktime.author": "artist",
    "com.apple.quicktime.comment": "comment",
    "com.apple.quicktime.description": "description",
    "com.apple.quicktime.creationdate": "date",
    "com.apple.quicktime.location.iso6709": "location",
    "author": "artist",
    "date_recorded": "date",
    "year": "date",
}
# About the file itself, not about what it shows.
OF_THE_FILE = tuple(
    """major_brand minor_version compatible_brands encoder duration statistics _sample isv device
    software wm/""".split()
)
CHAPTER_TICK = Fraction(1, 1000)


def carry_tags(source: InputContainer, output: OutputContainer) -> list[Note]:
    """Copy the file's tags; one note names those that MP4 has no place for."""
    homeless = []
    for name, value in source.metadata.items():
        tag = OTHER_NAMES.get(name.lower(), name.lower())
        if tag in HELD_TAGS:
            output.metadata.setdefault(tag, value)
        elif not _is_of_the_file(tag):
            homeless.append(name)
    if not homeless:
        return []
    return [Note(f"tags that MP4 has no place for are left out: {', '.join(sorted(homeless))}")]


def carry_names(source: Stream, output: Stream) -> None:
    """Copy a track's language, title and purpose (commentary, forced, default …)."""
    language, title = source.metadata.get("language"), track_title(source.metadata)
    if language:
        output.metadata["language"] = language
    if title:
        output.metadata["title"] = title
    output.disposition = source.disposition


def track_title(metadata: Mapping[str, str]) -> str | None:
    """What a track is called; MP4 files say `name` for that."""
    return metadata.get("title") or metadata.get("name")


def carry_chapters(
    source: InputContainer, output: OutputContainer, zero_s: Fraction, end_s: Fraction
) -> None:
    """Copy the chapters that lie in the MP4, cut to it.

    Args:
        source: the file they are from.
        output: before it is closed.
        zero_s: time in the source that is 0 in the MP4.
        end_s: where the MP4 ends.
    """
    kept = []
    for chapter in source.chapters():
        tick = chapter["time_base"] or CHAPTER_TICK
        start = max(Fraction(0), chapter["start"] * tick - zero_s)
        end = min(end_s, chapter["end"] * tick - zero_s)
        if start < end:
            chapter["start"], chapter["end"] = (
                round(start / CHAPTER_TICK),
                round(end / CHAPTER_TICK),
            )
            chapter["time_base"] = CHAPTER_TICK
            kept.append(chapter)
    if kept:
        output.set_chapters(kept)


def _is_of_the_file(tag: str) -> bool:
    return tag.startswith("location-") or any(part in tag for part in OF_THE_FILE)
