"""A camera on loopback that speaks RTSP, for a Python that has GStreamer's RTSP server.

    /usr/bin/python3 tests/live_rtsp_server.py --port 8554 --away 600:20 --away 1800:45

Serves rtsp://127.0.0.1:PORT/live: H.264 pictures that carry their number (`coded_pictures`).
It prints a moment, in seconds since 1970, and its port. Picture n is due n / fps seconds after that
moment. While the camera is away, its connections are cut and refused; its clock starts anew with
each of them.
"""

import argparse
import sys
import time
from pathlib import Path
from threading import Thread
from typing import Any

import gi

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.coded_pictures import coded_picture

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")

from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

WIDTH, HEIGHT = 320, 240
NANOSECONDS = 1_000_000_000


class Camera:
    """Pushes pictures into every pipeline that the server makes, as they become due."""

    def __init__(self, fps: int, began_s: float) -> None:
        self.fps, self.began_s = fps, began_s
        self.factory = GstRtspServer.RTSPMediaFactory()
        self.factory.set_launch(
            "( appsrc name=pictures is-live=true format=time block=false "
            f"caps=video/x-raw,format=GRAY8,width={WIDTH},height={HEIGHT},framerate={fps}/1 "
            "! videoconvert ! video/x-raw,format=I420 "
            f"! x264enc tune=zerolatency speed-preset=ultrafast threads=1 key-int-max={fps} "
            "! rtph264pay name=pay0 pt=96 config-interval=1 )"
        )
        self.factory.set_shared(True)
        self.factory.connect("media-configure", self._play)

    def _play(self, _factory: Any, media: Any) -> None:
        Thread(target=self._push, args=(media,), daemon=True).start()

    def _push(self, media: Any) -> None:
        pictures = media.get_element().get_by_name_recurse_up("pictures")
        first = int((time.time() - self.began_s) * self.fps) + 1
        number = first
        while True:
            time.sleep(max(0.0, self.began_s + number / self.fps - time.time()))
            buffer = Gst.Buffer.new_wrapped(coded_picture(number, WIDTH, HEIGHT))
            buffer.pts = (number - first) * NANOSECONDS // self.fps
            buffer.duration = NANOSECONDS // self.fps
            if pictures.emit("push-buffer", buffer) not in (Gst.FlowReturn.OK,):
                return
            number += 1


class Server:
    """The camera's server, which can go away and come back."""

    def __init__(self, port: int, camera: Camera) -> None:
        self.port, self._camera = port, camera
        self._server: Any = None
        self._source = 0

    def come(self) -> bool:
        self._server = GstRtspServer.RTSPServer()
        self._server.set_address("127.0.0.1")
        self._server.set_service(str(self.port))
        self._server.get_mount_points().add_factory("/live", self._camera.factory)
        self._source = self._server.attach(None)
        self.port = self._server.get_bound_port()  # the same one, when it comes back
        return False

    def go(self) -> bool:
        GLib.source_remove(self._source)
        self._server.client_filter(lambda *_: GstRtspServer.RTSPFilterResult.REMOVE)
        self._server = None
        return False


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8554)
    parser.add_argument("--fps", type=int, default=25)
    parser.add_argument("--away", action="append", default=[], metavar="FROM:SECONDS")
    given = parser.parse_args()
    Gst.init(None)
    began_s = time.time()
    server = Server(given.port, Camera(given.fps, began_s))
    server.come()
    for span in given.away:
        from_s, length_s = map(float, span.split(":"))
        GLib.timeout_add(round(1000 * from_s), server.go)
        GLib.timeout_add(round(1000 * (from_s + length_s)), server.come)
    print(f"{began_s:.6f} {server.port}", flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
