"""Connections that end soon: what came before is shown, each picture as of when it was due."""

import threading
from fractions import Fraction
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.synthetic_video import write_video
from tubedet.video import live_packets
from tubedet.video.live_address import live_source_of
from tubedet.video.live_connection import LiveConnection, LivePicture, LostError

FRAME_US = 40_000


class Endless(SimpleHTTPRequestHandler):
    """Serves a file as cameras do: nobody knows that it ends before it does."""

    def send_header(self, keyword: str, value: str) -> None:
        if keyword != "Content-Length":
            super().send_header(keyword, value)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.mark.parametrize("name", ["live.ts", "live.h264"])
def test_pictures_of_a_connection_that_fails_at_once_are_all_shown(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They come in a burst: 1 ms passes between two of 40. The decoder holds two B-frames."""
    clock_us = count(0, 1_000)
    monkeypatch.setattr(live_packets, "monotonic_us", lambda: next(clock_us))
    write_video(tmp_path / name, frames=50, fps=Fraction(25))
    pictures: list[LivePicture] = []
    handler = partial(Endless, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            source = live_source_of(f"http://127.0.0.1:{server.server_address[1]}/{name}")
            assert source is not None
            with (
                LiveConnection(source, None) as connection,
                pytest.raises(LostError, match="the connection broke off"),
            ):
                pictures.extend(connection.pictures())
        finally:
            server.shutdown()
            thread.join()
    assert len(pictures) == 50
    assert not any(picture.after_gap for picture in pictures)
    arrived_us = [picture.arrived_us for picture in pictures]
    steps_us = [later - earlier for earlier, later in pairwise(arrived_us)]
    assert steps_us == [FRAME_US] * 49
    if connection.has_times:
        own_us = [picture.own_us or 0 for picture in pictures]
        assert own_us == [own_us[0] + FRAME_US * number for number in range(50)]
