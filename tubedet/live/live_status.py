"""How a live run stands at the moment, for a terminal and a page that look at it now and then."""

from collections import deque
from threading import Lock
from time import monotonic
from typing import Any

from tubedet.live.action_events import ActionEvent
from tubedet.live.stream import LiveStream, Outage, iso_utc, utc_at

RATE_OVER_S = 5.0
MOST_TIMES = 2_000  # of frames in these seconds
EVENTS_KEPT = 20
OUTAGES_SHOWN = 10


class LiveStatus:
    """Filled by the thread that writes, read by any.

    Attributes:
        frames: written so far.
        time_s: of the latest one.
    """

    def __init__(self, stream: LiveStream, name: str) -> None:
        """Of a stream that messages call `name`."""
        self.name = name
        self.frames = 0
        self.time_s = 0.0
        self._actions: tuple[str, ...] = ()
        self._stream = stream
        self._began: float | None = None
        self._lock = Lock()
        self._times: deque[float] = deque(maxlen=MOST_TIMES)
        self._events: deque[ActionEvent] = deque(maxlen=EVENTS_KEPT)

    def add(self, time_s: float, actions: list[str], events: list[ActionEvent]) -> None:
        """A frame is written."""
        with self._lock:
            self.frames += 1
            self.time_s, self._actions = time_s, tuple(actions)
            self._times.append(now := monotonic())
            self._began = now if self._began is None else self._began
            self._events += events

    @property
    def frames_per_s(self) -> float:
        """Written in the last seconds."""
        with self._lock:
            now = monotonic()
            recent = sum(now - then < RATE_OVER_S for then in self._times)
            since_s = now - (self._began or now)
        return recent / min(RATE_OVER_S, max(since_s, 1.0))

    @property
    def actions(self) -> tuple[str, ...]:
        """Labels of what goes on in the latest frame; nothing where that is long ago."""
        return self._actions if self.is_connected else ()

    @property
    def dropped_frames(self) -> int:
        """Of the stream."""
        return self._stream.dropped_frames

    @property
    def outages(self) -> list[Outage]:
        """Of the stream."""
        return list(self._stream.outages)

    @property
    def is_connected(self) -> bool:
        """Whether frames come, or may come at any moment."""
        outages = self._stream.outages
        return not outages or outages[-1].seconds is not None

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values, the latest events and outages first."""
        with self._lock:
            # An end is known some frames later than a beginning in the same frame.
            events = sorted(self._events, key=lambda each: each.at, reverse=True)
        outages = self.outages
        return {
            "name": self.name,
            "connected": self.is_connected,
            "frames": self.frames,
            "frames_per_s": round(self.frames_per_s, 1),
            "dropped_frames": self.dropped_frames,
            "time_s": round(self.time_s, 3),
            "at": iso_utc(utc_at(self._stream, self.time_s)) if self.frames else None,
            "actions": list(self.actions),
            "outages": len(outages),
            "latest_outages": [outage_json(each) for each in outages[: -OUTAGES_SHOWN - 1 : -1]],
            "events": [
                {
                    "event": each.event,
                    "label": each.label,
                    "tube": each.tube,
                    "at": iso_utc(each.at),
                    "duration_s": each.duration_s and round(each.duration_s, 1),
                }
                for each in events
            ],
        }


def outage_json(outage: Outage) -> dict[str, Any]:
    """An outage as plain JSON values."""
    seconds = outage.seconds
    return {
        "time_s": round(float(outage.time_s), 6),
        "seconds": None if seconds is None else round(float(seconds), 3),
        "reason": outage.reason,
    }
