"""The index of a folder of results, from what is known of its videos."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tubedet.page.templates import environment

GENERATOR = "tubedet index"


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedVideo:
    """What the index shows of one video.

    Attributes:
        name: as in the rows' `video` column.
        page: address of its page, or else its MP4, relative to the index; None without both.
        thumbnail: address of a small picture, such as a data URI; None for none.
        labels: seconds in which each label was found; None if that is not known.
        frames: how many were processed.
        seconds: how long they last; None if that is not known.
        notes: what people should know of the result, one line each.
        partial: the run ended before its last frame.
        error: why there is no result; None if there is one.
    """

    name: str
    page: str | None = None
    thumbnail: str | None = None
    labels: Mapping[str, float] | None = field(default_factory=dict)
    frames: int = 0
    seconds: float | None = None
    notes: Sequence[str] = ()
    partial: bool = False
    error: str | None = None


def index_html(videos: Sequence[IndexedVideo], title: str) -> str:
    """The page: failures first, then what is partial, then the rest, each in the order of names."""
    ordered = sorted(videos, key=lambda each: (each.error is None, not each.partial, each.name))
    seconds = Counter[str]()
    for video in videos:
        seconds.update(video.labels or {})
    template = environment().get_template("index.html.j2")
    return template.render(
        generator=GENERATOR,
        title=title,
        videos=ordered,
        labels=sorted(seconds.items(), key=lambda each: (-each[1], each[0])),
        failed=sum(each.error is not None for each in videos),
        partial=sum(each.partial for each in videos),
    )
