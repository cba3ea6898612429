"""A camera on loopback: an HTTP server that plays pictures with numbers as they become due.

Picture n is due n / fps seconds after the server began; `number_in` reads n from what arrives. The
camera can be away, and it can stall: then it keeps its connections, but sends nothing.
"""

import random
from collections.abc import Iterator, Sequence
from contextlib import suppress
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from time import monotonic, sleep
from types import TracebackType
from typing import Any, Self, cast

import av
import numpy as np
from av.video.stream import VideoStream

from tests.coded_pictures import coded_picture

Spans = Sequence[tuple[float, float]]
VIDEO_TYPE, JPEGS_TYPE = "video/mp2t", "multipart/x-mixed-replace; boundary=ffmpeg"
SPEED = {"preset": "ultrafast", "tune": "zerolatency", "bf": "0"}


class LiveServer:
    """Serves H.264 in a transport stream at `address` from the beginning of its block to the end.

    Args:
        fps: of the pictures, which come in real time.
        away: (from, for) in seconds since the server began: connections are cut and refused.
        stalled: likewise: connections hold, but nothing comes.
        burst_s: a connection begins with what was due up to so many seconds before.
        jitter_s: a picture is sent up to so much later than it is due.
        clock_s: what the camera's clock shows at the first picture of every connection; None if it
            goes on, from 0 at picture 0.
        clock_rate: seconds that the camera's clock counts in one.
        sizes: (width, height) of the pictures of the first connection, the second and so on; the
            last one stays.
        pictures: after so many of a connection, it ends.
        has_times: else it serves JPEGs one after another, as simple network cameras do.
    """

    def __init__(
        self,
        *,
        fps: int = 25,
        away: Spans = (),
        stalled: Spans = (),
        burst_s: float = 0,
        jitter_s: float = 0,
        clock_s: float | None = None,
        clock_rate: float = 1.0,
        sizes: Sequence[tuple[int, int]] = ((320, 240),),
        pictures: int | None = None,
        has_times: bool = True,
    ) -> None:
        self.fps, self.burst_s, self.jitter_s = fps, burst_s, jitter_s
        self.clock_s, self.clock_rate = clock_s, clock_rate
        self.sizes, self.pictures, self.has_times = sizes, pictures, has_times
        self._away, self._stalled = list(away), list(stalled)
        self.connections = 0
        self.is_closed = False
        self.began = monotonic()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.answer(self)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._thread = Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self.began = monotonic()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.is_closed = True
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}/live.ts"

    @property
    def is_stalled(self) -> bool:
        """Whether nothing comes at this moment, though connections hold."""
        return self._is_in(self._stalled)

    def stall(self, seconds: float) -> None:
        """Send nothing from now on, for so long."""
        self._stalled.append((monotonic() - self.began, seconds))

    def go_away(self, seconds: float) -> None:
        """Cut all connections now, and refuse others for so long."""
        self._away.append((monotonic() - self.began, seconds))

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        if self._is_in(self._away):
            request.send_error(503)
            return
        self.connections += 1
        request.close_connection = True
        request.send_response(200)
        request.send_header("Content-Type", VIDEO_TYPE if self.has_times else JPEGS_TYPE)
        request.end_headers()
        with suppress(OSError, av.FFmpegError):
            self._play(request)

    def _play(self, request: BaseHTTPRequestHandler) -> None:
        width, height = self.sizes[min(self.connections, len(self.sizes)) - 1]
        options = {"flush_packets": "1"}
        first = max(0, int((monotonic() - self.began - self.burst_s) * self.fps) + 1)
        container, codec = ("mpegts", "libx264") if self.has_times else ("mpjpeg", "mjpeg")
        with av.open(request.wfile, "w", format=container, options=options) as output:
            stream = cast(VideoStream, output.add_stream(codec, self.fps))
            stream.options = {**SPEED, "g": str(self.fps)} if self.has_times else {}
            stream.width, stream.height = width, height
            stream.pix_fmt = "yuv420p" if self.has_times else "yuvj420p"
            stream.codec_context.time_base = Fraction(1, 90_000)
            for number in self._due(first):
                grey = np.frombuffer(coded_picture(number, width, height), np.uint8)
                drawn = av.VideoFrame.from_ndarray(grey.reshape(height, width), "gray")
                picture = drawn.reformat(format=stream.pix_fmt)
                picture.pts, picture.time_base = self._pts(number, first), Fraction(1, 90_000)
                output.mux(stream.encode(picture))

    def _due(self, first: int) -> Iterator[int]:
        """The numbers of pictures from `first` on, each when it is to be sent, until a cut."""
        number, end = first, None if self.pictures is None else first + self.pictures
        while number != end and not self.is_closed and not self._is_in(self._away):
            late_s = random.random() * self.jitter_s
            wait_s = self.began + number / self.fps + late_s - monotonic()
            if wait_s > 0:
                sleep(min(wait_s, 0.05))
            if self.is_stalled:
                sleep(0.02)
            elif wait_s <= 0.05:
                yield number
                number += 1

    def _pts(self, number: int, first: int) -> int:
        seconds = number / self.fps if self.clock_s is None else (number - first) / self.fps
        return round((seconds * self.clock_rate + (self.clock_s or 0)) * 90_000)

    def _is_in(self, spans: Spans) -> bool:
        now_s = monotonic() - self.began
        return any(begin_s <= now_s < begin_s + length_s for begin_s, length_s in spans)
