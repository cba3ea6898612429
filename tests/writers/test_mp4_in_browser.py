"""A real browser plays, seeks and shows the MP4: Debian's headless Chromium, if it is installed."""

import queue
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.output_targets import frames_of, target_for, write_mp4
from tests.synthetic_video import write_video
from tests.tone_files import with_chapters_and_subtitles, write_tones

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
    "--disable-background-networking --disable-component-update --mute-audio"
).split()
WAIT_S = 60
PAGE = """<!doctype html><video muted></video><script>
const video = document.querySelector("video");
const tell = (headers, body) => fetch("/seen", {method: "POST", headers, body});
video.onerror = () => tell({error: video.error.message}, "");
video.onloadedmetadata = () => { video.currentTime = SEEK_TO; };
const look = () => {
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  const context = canvas.getContext("2d");
  context.drawImage(video, 0, 0);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
  if (pixels[3] === 0) {  // transparent: a busy browser has no picture to draw yet
    setTimeout(look, 50);
    return;
  }
  tell({width: canvas.width, height: canvas.height, duration: video.duration}, pixels);
};
video.onseeked = look;
video.src = "/video.mp4";
</script>"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium in the PATH")


class Seen:
    """What the page told: the canvas (H, W, 3) and the duration the player believes in."""

    def __init__(self, headers: Any, body: bytes) -> None:
        assert "error" not in headers, f"Chromium: {headers['error']}"
        shape = (int(headers["height"]), int(headers["width"]), 4)
        self.rgb: NDArray[np.uint8] = np.frombuffer(body, np.uint8).reshape(shape)[..., :3]
        self.duration_s = float(headers["duration"])


@contextmanager
def page_with(movie: Path, seek_to: float) -> Iterator[tuple[str, "queue.Queue[Any]"]]:
    """Serve the page and the movie, with byte ranges as a player needs them for seeking."""
    told: queue.Queue[Any] = queue.Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path != "/video.mp4":
                self.answer(200, PAGE.replace("SEEK_TO", repr(seek_to)).encode(), "text/html")
                return
            data = movie.read_bytes()
            first, _, last = (
                self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
            )
            begin, end = int(first), int(last or len(data) - 1) + 1
            self.answer(206, data[begin:end], "video/mp4", f"bytes {begin}-{end - 1}/{len(data)}")

        def do_POST(self) -> None:
            told.put((self.headers, self.rfile.read(int(self.headers["Content-Length"]))))
            self.answer(200, b"", "text/plain")

        def answer(self, status: int, body: bytes, kind: str, part: str | None = None) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            if part:
                self.send_header("Content-Range", part)
            self.end_headers()
            try:
                self.wfile.write(body)
            except OSError:  # a player drops a request when it seeks
                self.close_connection = True

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", told
        server.shutdown()


def seen_in_chromium(movie: Path, seek_to: float, profile: Path) -> Seen:
    """Open the movie in a browser with a fresh profile, seek, and look at the canvas."""
    with page_with(movie, seek_to) as (url, told):
        command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}", "--remote-debugging-port=0"]
        browser = subprocess.Popen([*command, url], stdout=-3, stderr=-3)
        try:
            return Seen(*told.get(timeout=WAIT_S))
        finally:
            browser.terminate()
            browser.wait(WAIT_S)


def frame_at(movie: Path, time_s: float) -> tuple[NDArray[np.uint8], float]:
    """The frame that is on screen at this time, and the movie's end, decoded by PyAV."""
    with av.open(str(movie)) as container:
        shown = [f for f in container.decode(video=0) if f.time is not None and f.time <= time_s]
        end = container.streams.video[0].duration
        start = container.streams.video[0].start_time
        time_base = container.streams.video[0].time_base
        assert end is not None
        assert start is not None
        assert time_base
        rgb = np.asarray(shown[-1].to_ndarray(format="rgb24"), np.uint8)
        return rgb, float((start + end) * time_base)


@pytest.mark.parametrize(
    "options",
    [
        {"audio": ["aac"]},
        {"width": 321, "height": 181, "audio": ["opus", "pcm_s16le"]},
        {"timestamps": [15 * 40, *(n * 40 + 20 * (n % 3) for n in range(16, 64))],
         "time_base": Fraction(1, 1000)},
        {"width": 1280, "height": 720, "frames": 12},
    ],
    ids=["with AAC", "odd size, Opus and PCM", "variable rate, first frame late", "720 lines"],
)  # fmt: skip
def test_chromium_seeks_to_the_middle_and_shows_the_frame_that_pyav_decodes(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    source = write_video(tmp_path / "source.mkv", **options)
    movie, _ = write_mp4(target_for(tmp_path / "out", source), frames_of(source))
    times = [frame.time_s for frame in frames_of(movie)]
    middle = len(times) // 2
    seek_to = float(times[middle] + times[middle + 1]) / 2

    expected, end_s = frame_at(movie, seek_to)
    seen = seen_in_chromium(movie, seek_to, tmp_path / "profile")

    assert seen.rgb.shape == expected.shape
    assert np.abs(seen.rgb.astype(int) - expected).mean() < 8
    assert seen.duration_s == pytest.approx(end_s, abs=0.05)


def test_chromium_plays_an_mp4_with_chapters_subtitles_and_sound_of_51_channels(
    tmp_path: Path,
) -> None:
    tones = [300, 400, 500, 60, 600, 700]
    plain = write_tones(tmp_path / "plain.mkv", "ac3", tones, layout="5.1(side)")
    source = with_chapters_and_subtitles(tmp_path / "rich.mkv", plain)
    movie, _ = write_mp4(target_for(tmp_path / "out", source), frames_of(source))
    with av.open(str(movie)) as file:
        assert file.streams.subtitles
        assert file.chapters()

    expected, end_s = frame_at(movie, 1.02)
    seen = seen_in_chromium(movie, 1.02, tmp_path / "profile")

    assert np.abs(seen.rgb.astype(int) - expected).mean() < 8
    assert seen.duration_s == pytest.approx(end_s, abs=0.05)
