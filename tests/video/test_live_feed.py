"""The live feed over scripted connections: their pictures come as written, without a network."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from threading import Event

import av
import pytest

from tubedet.errors import VideoError
from tubedet.video import live_feed
from tubedet.video.decoding import DecodingCounts
from tubedet.video.frame import VideoInfo
from tubedet.video.live_address import live_source_of
from tubedet.video.live_connection import LivePicture, LostError
from tubedet.video.live_feed import LiveFeed, Outage
from tubedet.video.live_packets import monotonic_us

FRAME_US = 40_000


class ScriptedConnection:
    """Shows pictures (true time, own time) in frames, each as it was due, and is lost."""

    is_whole = has_times = True  # whole: each picture waits until there is room for it
    has_end = False
    fps = Fraction(25)
    began_us = 0
    begun: Event
    script: list[list[tuple[int, int]]]

    def __init__(self, *_: object) -> None:
        if not self.script:
            raise VideoError("away")
        self._pictures = self.script.pop(0)
        self.decoding = self
        self.counts = DecodingCounts(decoded=len(self._pictures))
        self.container = self.stream = None

    def __enter__(self) -> "ScriptedConnection":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def pictures(self) -> Iterator[LivePicture]:
        assert self.begun.wait(5)
        for due, own in self._pictures:
            picture = av.VideoFrame(16, 16, "gray")
            arrived_us = self.began_us + due * FRAME_US
            yield LivePicture(picture, own * FRAME_US, arrived_us, False, False)
        raise LostError("cut")


INFO = VideoInfo(16, 16, 0, Fraction(1, 25), Fraction(25), None, None, "scripted", ())


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Callable[..., LiveFeed]:
    """A feed whose connections show, one after the other, what their scripts say."""
    monkeypatch.setattr(live_feed, "LiveConnection", ScriptedConnection)
    monkeypatch.setattr(live_feed, "FIRST_WAIT_S", 0.001)
    monkeypatch.setattr(live_feed, "info_of", lambda *_: INFO)

    def feed(script: list[list[tuple[int, int]]], *, begins_at_loss: bool = False) -> LiveFeed:
        ScriptedConnection.script, ScriptedConnection.began_us = script, monotonic_us()
        ScriptedConnection.begun = Event()
        source = live_source_of("rtsp://camera/live")
        assert source is not None
        live: LiveFeed = LiveFeed(source, None, lambda _: live.begin(None))
        if not begins_at_loss:
            live.begin(None)
        ScriptedConnection.begun.set()
        return live

    return feed


def test_what_a_source_has_kept_through_an_outage_is_not_shown_twice(
    opened: Callable[..., LiveFeed],
) -> None:
    """Pictures 0 to 24; the next connection begins with 15 and goes on; its clock is another."""
    first = [(due, due) for due in range(25)]
    second = [(due, due + 90_000) for due in range(15, 50)]
    feed = opened([first, second])
    taken = [feed.queue.take(1) for _ in range(50)]
    pictures = [each for each in taken if each]
    feed.close()
    assert [picture.frame for picture in pictures] == list(range(50))
    assert [picture.time_s for picture in pictures] == [Fraction(k, 25) for k in range(50)]
    assert [picture.frame for picture in pictures if picture.after_gap] == [25]
    assert feed.outages[0] == Outage(Fraction(24, 25), 0.04, "cut")
    assert feed.outages[1] == Outage(Fraction(49, 25), None, "cut")
    assert feed.counts.decoded == 60
    assert feed.dropped == 0


def test_a_connection_that_fails_again_at_once_goes_on_with_its_outage(
    opened: Callable[..., LiveFeed],
) -> None:
    feed = opened([[(0, 0), (1, 1)], [], [], [(75, 75)]])
    taken = [feed.queue.take(1) for _ in range(3)]
    feed.close()
    assert [each.time_s for each in taken if each] == [0, Fraction(1, 25), 3]
    assert feed.outages[0] == Outage(Fraction(1, 25), 2.96, "cut")


def test_a_run_that_begins_in_an_outage_has_the_first_picture_behind_it(
    opened: Callable[..., LiveFeed],
) -> None:
    feed = opened([[(0, 0), (1, 1)], [(75, 75), (76, 76)]], begins_at_loss=True)
    taken = [feed.queue.take(1) for _ in range(2)]
    feed.close()
    assert [each.time_s for each in taken if each] == [0, Fraction(1, 25)]
    assert feed.outages[0] == Outage(Fraction(0), 0, "cut")
