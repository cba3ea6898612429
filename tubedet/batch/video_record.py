"""What is known of one video of a job: a line of its manifest."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import Any, Literal, Self, get_args

from tubedet import __version__
from tubedet.writers.formats import Kind

Status = Literal["waiting", "done", "partial", "failed", "left out"]


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoRecord:
    """What is known of one video.

    Attributes:
        video: as in the rows' `video` column.
        kind: of the results.
        results: their first part, below the folder of the manifest, with "/".
        path: of the source, absolute; its address if it is elsewhere.
        source: `bytes` and `modified_ns`, as in the meta.
        settings_sha256: of what changes a result; None where no network was loaded.
        weights_sha256: as in the meta.
        status: `waiting` to be done; `done`; `partial`: ended early, with what there was; `failed`;
            `left out`: no longer asked for, and not done.
        error: of one that failed, one line.
        notes: what was said of it: `text`, and whether it is a `loss`.
        frames: went through the network.
        seconds: it took; None where nobody knows any more.
        outputs: as in the meta, of every format the file's `name` and `bytes`.
        at: when this was written, UTC.
    """

    video: str
    kind: Kind
    results: str
    path: str
    source: Mapping[str, int]
    settings_sha256: str | None = None
    weights_sha256: str | None = None
    status: Status
    error: str | None = None
    notes: tuple[Mapping[str, Any], ...] = ()
    frames: int = 0
    seconds: float | None = None
    outputs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    at: str = ""
    tubedet_version: str = __version__

    @classmethod
    def read(cls, line: bytes) -> Self | None:
        """The record in a line; None if there is none."""
        try:
            told = json.loads(line)
            record = cls(**{each.name: told[each.name] for each in fields(cls)})
            record = replace(record, notes=tuple(record.notes))
        except (ValueError, KeyError, TypeError):
            return None
        is_sound = (
            all(isinstance(each, str) for each in (record.results, record.video, record.path))
            and record.status in get_args(Status)
            and record.kind in get_args(Kind)
            and isinstance(record.frames, int)
            and isinstance(record.seconds, float | int | None)
            and isinstance(record.error, str | None)
        )
        return record if is_sound else None

    def to_line(self) -> bytes:
        """A line of JSON."""
        at = datetime.now(UTC).isoformat(timespec="seconds")
        return json.dumps(asdict(replace(self, at=at))).encode() + b"\n"

    def tells_the_same(self, other: Self | None) -> bool:
        """Whether both are of the same results; how long they took is no part of that."""
        return (
            other is not None
            and replace(
                self, seconds=other.seconds, at=other.at, tubedet_version=other.tubedet_version
            )
            == other
        )
