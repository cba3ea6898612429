"""The page of a stream: who sees it, and what is seen, by plain requests and in a browser."""

import http.client
import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from threading import Event
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest

from tests.browser import chromium, picture_of
from tubedet.errors import OutputError
from tubedet.live.latest_picture import MOST_VIEWERS
from tubedet.live.page_server import MOST_CONNECTIONS, LivePage

STATUS = {
    "name": "rtsp://door",
    "connected": True,
    "frames": 7,
    "frames_per_s": 24.9,
    "dropped_frames": 3,
    "outages": 0,
    "time_s": 1.0,
    "at": "2026-11-30T05:22:33.120Z",
    "actions": ["<b>walk</b>"],
    "events": [],
    "latest_outages": [],
}
RED, GREEN = (200, 30, 30), (30, 200, 30)


@pytest.fixture
def page() -> Iterator[LivePage]:
    with closing(LivePage("rtsp://door", lambda: STATUS, "127.0.0.1", 0)) as page:
        yield page


def plain(rgb: tuple[int, int, int], width: int = 320) -> Any:
    return np.full((240, width, 3), rgb, np.uint8)


def get(
    page: LivePage, path: str, host: str | None = None, method: str = "GET"
) -> http.client.HTTPResponse:
    """The answer to a request; its connection is closed by the server or with the response."""
    connection = http.client.HTTPConnection("127.0.0.1", urlsplit(page.address).port, timeout=20)
    connection.request(method, path, headers={"Host": host} if host else {})
    return connection.getresponse()


def connected(page: LivePage) -> socket.socket:
    """A connection that has sent the first letter of a request."""
    connection = socket.create_connection(("127.0.0.1", urlsplit(page.address).port or 0), 20)
    connection.sendall(b"G")
    return connection


def is_closed(connection: socket.socket) -> bool:
    """Wait until the server closes a connection without an answer; False if it does not."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False


def send_slowly(connection: socket.socket) -> None:
    """Send letters of a request for ten seconds."""
    for _ in range(100):
        connection.sendall(b"E")
        time.sleep(0.1)


def next_picture(response: http.client.HTTPResponse) -> Any:
    """The next picture of a motion JPEG, as OpenCV reads it: (H, W, 3) BGR."""
    jpeg = bytearray()
    while (begin := jpeg.find(b"\xff\xd8")) < 0 or jpeg.find(b"\r\n--picture", begin) < 0:
        more = response.read(1)
        assert more, "the pictures ended"
        jpeg += more
    end = jpeg.find(b"\r\n--picture", begin)
    return cv2.imdecode(np.frombuffer(jpeg[begin:end], np.uint8), cv2.IMREAD_COLOR)


def test_the_page_is_at_an_unguessable_address_of_this_machine_alone(page: LivePage) -> None:
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{22}/", page.address)
    assert page.is_for_this_machine_alone
    with closing(get(page, f"/{page.token}/")) as response:
        html = response.read().decode()
    assert response.status == 200
    assert "rtsp://door" in html
    assert "&lt;b&gt;walk" in html
    assert response.headers["Access-Control-Allow-Origin"] is None
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    "path", ["/", "/{other}/", "/{other}/picture", "/{token}", "/{token}/else", "//", "/%C3%A4/"]
)
def test_anything_else_is_not_found(page: LivePage, path: str) -> None:
    path = path.format(token=page.token, other="x" * len(page.token))
    with closing(get(page, path)) as response:
        assert response.status == 404
        assert page.token not in response.read().decode()


@pytest.mark.parametrize(
    ("host", "status"),
    [("127.0.0.1", 200), ("localhost:80", 200), ("[::1]:9", 200), ("evil.example", 404), ("", 404)],
)
def test_a_foreign_name_that_leads_here_is_not_found(
    page: LivePage, host: str, status: int
) -> None:
    with closing(get(page, f"/{page.token}/status", host or " ")) as response:
        assert response.status == status


def test_the_status_is_json(page: LivePage) -> None:
    with closing(get(page, f"/{page.token}/status")) as response:
        assert json.loads(response.read()) == STATUS


def test_every_viewer_sees_the_newest_picture_and_then_the_next(page: LivePage) -> None:
    page.show(plain(RED))
    viewers = [get(page, f"/{page.token}/picture") for _ in range(2)]
    for rgb in (RED, GREEN):
        for viewer in viewers:
            assert next_picture(viewer)[120, 160].tolist() == pytest.approx(rgb[::-1], abs=6)
        page.show(plain(GREEN))
    assert page.is_watched
    for viewer in viewers:
        viewer.close()


def test_a_wide_picture_is_shown_smaller(page: LivePage) -> None:
    page.show(plain(RED, width=2560))
    with closing(get(page, f"/{page.token}/picture")) as viewer:
        assert next_picture(viewer).shape == (120, 1280, 3)


def test_nothing_is_encoded_while_nobody_looks(
    page: LivePage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> bytes:
        raise AssertionError("encoded")

    monkeypatch.setattr("tubedet.live.latest_picture.jpeg_of", fail)
    page.show(plain(RED))
    assert not page.is_watched


def test_viewers_that_are_too_many_are_turned_away(page: LivePage) -> None:
    assert all(page.pictures.begin_viewing() for _ in range(MOST_VIEWERS))
    with closing(get(page, f"/{page.token}/picture")) as response:
        assert response.status == 503
    page.pictures.end_viewing()
    assert page.pictures.begin_viewing()


def test_the_end_of_the_page_is_the_end_of_its_pictures() -> None:
    page = LivePage("x", lambda: STATUS, "127.0.0.1", 0)
    page.show(plain(RED))
    with closing(get(page, f"/{page.token}/picture")) as viewer:
        next_picture(viewer)
        page.close()
        assert b"\xff\xd8" not in viewer.read()


def test_a_place_that_cannot_be_bound_is_said(page: LivePage) -> None:
    port = urlsplit(page.address).port
    assert port
    with pytest.raises(OutputError, match=rf"cannot serve a page at 127.0.0.1:{port}: "):
        LivePage("x", lambda: STATUS, "127.0.0.1", port)


def test_connections_that_are_too_many_are_closed_at_once(
    page: LivePage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tubedet.live.page_server.HEAD_S", 60.0)  # longer than the test waits
    with ExitStack() as opened:
        first = [opened.enter_context(connected(page)) for _ in range(MOST_CONNECTIONS)]
        with connected(page) as one_more:
            assert is_closed(one_more)
        first[-1].sendall(f"ET /{page.token}/status HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        assert first[-1].recv(12) == b"HTTP/1.0 200"


def test_a_burst_of_connections_is_not_turned_away_while_the_server_is_busy(
    page: LivePage, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = Event()
    monkeypatch.setattr(page._server, "service_actions", lambda: go_on.wait(60))
    try:
        with ExitStack() as opened:
            for _ in range(MOST_CONNECTIONS):
                opened.enter_context(connected(page))
    finally:
        go_on.set()


def test_a_request_that_does_not_end_is_not_waited_for(
    page: LivePage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tubedet.live.page_server.HEAD_S", 0.5)
    with connected(page) as silent, connected(page) as slow:
        assert is_closed(silent)
        with pytest.raises(ConnectionError):
            send_slowly(slow)


def test_pictures_go_on_after_the_time_for_a_request(
    page: LivePage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tubedet.live.page_server.HEAD_S", 0.1)
    page.show(plain(RED))
    with closing(get(page, f"/{page.token}/picture")) as viewer:
        next_picture(viewer)
        with connected(page) as silent:
            assert is_closed(silent)
        page.show(plain(GREEN))
        assert next_picture(viewer)[120, 160].tolist() == pytest.approx(GREEN[::-1], abs=6)


@pytest.mark.parametrize(("what", "status"), [("", 200), ("picture", 200), ("else", 404)])
def test_the_head_of_an_answer_can_be_asked_for(page: LivePage, what: str, status: int) -> None:
    with closing(get(page, f"/{page.token}/{what}", method="HEAD")) as response:
        assert response.status == status


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


def test_the_page_shows_pictures_without_a_script_and_at_once(page: LivePage, browser: Any) -> None:
    tab = browser.new_context(java_script_enabled=False).new_page()
    page.show(plain(RED))
    tab.goto(page.address, wait_until="commit")
    assert wait_for_colour(tab, RED) == pytest.approx(RED, abs=6)
    page.show(plain(GREEN))
    assert wait_for_colour(tab, GREEN) == pytest.approx(GREEN, abs=6)


def wait_for_colour(tab: Any, rgb: tuple[int, int, int]) -> Any:
    """The colour in the middle of the picture, once it is this one or it is too late."""
    for _ in range(50):
        shown = picture_of(tab.locator(".picture img"))
        colour = shown[shown.shape[0] // 2, shown.shape[1] // 2].tolist()
        if colour == pytest.approx(rgb, abs=6):
            break
        tab.wait_for_timeout(100)
    return colour


def test_the_page_renews_its_status_by_itself(page: LivePage, browser: Any) -> None:
    tab = browser.new_context().new_page()
    complaints: list[str] = []
    tab.on("console", lambda message: complaints.append(message.text))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.goto(page.address, wait_until="commit")
    away = {"time_s": 1.0, "seconds": None, "reason": "the cable"}
    start = {
        "event": "start",
        "label": "<i>run</i>",
        "tube": 1,
        "at": STATUS["at"],
        "duration_s": None,
    }
    page.status = lambda: (
        STATUS
        | {
            "connected": False,
            "dropped_frames": 99,
            "outages": 1,
            "latest_outages": [away],
            "events": [start],
        }
    )
    tab.locator("#state", has_text="reconnecting").wait_for(timeout=20_000)
    assert tab.locator("#dropped").inner_text() == "99"
    assert tab.locator("#outage-list").inner_text() == "now the cable"
    assert "<i>run</i> started" in tab.locator("#events").inner_text()
    assert complaints == []
