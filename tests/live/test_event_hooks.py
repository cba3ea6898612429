"""Commands and addresses that are told of events."""

import json
import sys
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from time import monotonic, sleep

import pytest

from tubedet.errors import UsageError
from tubedet.live import event_hooks
from tubedet.live.action_events import ActionEvent
from tubedet.live.event_hooks import MOST_WAITING, Delivery, EventHook, delivery_to
from tubedet.notes import Note

NEEDS_SHELL = pytest.mark.skipif(sys.platform != "linux", reason="needs sh and /proc")
AT = datetime(2026, 11, 30, 5, 22, 33, tzinfo=UTC)
WAIT_S = 10


def event(frame: int) -> ActionEvent:
    return ActionEvent("start", "cam", 0, "walk", 0.5, (1.0, 2.0, 3.0, 4.0), frame, frame / 10, AT)


class Receiver(BaseHTTPRequestHandler):
    """Keeps what is posted to it; answers with 500 on /broken."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        self.server.got.append((self.path, self.headers["Authorization"], body))  # type: ignore[attr-defined]
        self.send_response({"/broken": 500, "/moved": 302}.get(self.path, 204))
        if self.path == "/moved":
            self.send_header("Location", "/elsewhere")
        self.end_headers()

    def do_GET(self) -> None:
        self.do_POST()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        server.got = []  # type: ignore[attr-defined]
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def deliver(text: str, frames: range) -> list[Note]:
    """Hand events over, wait for all, and return what is said of it."""
    notes: list[Note] = []
    hook = EventHook(delivery_to(text), notes.append)
    for frame in frames:
        hook.put(event(frame))
    hook.close(monotonic() + WAIT_S)
    return notes


def test_a_command_gets_each_event_on_its_stdin_in_order(tmp_path: Path) -> None:
    got = tmp_path / "events of today.jsonl"
    code = "import sys; open(sys.argv[1], 'a').write(sys.stdin.read())"
    assert deliver(f'"{sys.executable}" -c "{code}" "{got}"', range(3)) == []
    assert [json.loads(line)["frame"] for line in got.read_text().splitlines()] == [0, 1, 2]


def test_an_address_gets_each_event_as_a_post_of_json(server: ThreadingHTTPServer) -> None:
    assert deliver(f"http://127.0.0.1:{server.server_port}/door?k=1", range(2)) == []
    got = server.got  # type: ignore[attr-defined]
    assert [(path, secret) for path, secret, _ in got] == [("/door?k=1", None)] * 2
    assert [json.loads(body)["frame"] for _, _, body in got] == [0, 1]


def test_a_command_that_fails_is_said_once_and_counted() -> None:
    code = "import sys; print('no paper', file=sys.stderr); sys.exit(3)"
    notes = deliver(f'"{sys.executable}" -c "{code}"', range(3))
    name = sys.executable
    assert [note.text for note in notes] == [
        f"--on-event {name}: exit code 3: no paper",
        f"--on-event {name}: 3 of 3 events were not delivered (exit code 3: no paper)",
    ]
    assert all(note.loss for note in notes)


def test_an_address_that_fails_is_named_without_its_secrets(server: ThreadingHTTPServer) -> None:
    place = f"127.0.0.1:{server.server_port}"
    notes = deliver(f"http://me:w%40rd@{place}/broken", range(1))
    assert server.got[0][1] == "Basic " + b64encode(b"me:w@rd").decode()  # type: ignore[attr-defined]
    assert [note.text for note in notes] == [
        f"--on-event http://{place}: HTTP 500 Internal Server Error",
        f"--on-event http://{place}: 1 of 1 events were not delivered "
        "(HTTP 500 Internal Server Error)",
    ]


def test_nobody_at_an_address_is_said() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as gone:
        port = gone.server_port
    first, *_ = deliver(f"http://127.0.0.1:{port}/", range(1))
    assert first.text == f"--on-event http://127.0.0.1:{port}: Connection refused"


def test_handing_over_never_waits_and_what_finds_no_room_is_counted() -> None:
    at_work, go_on, notes = Event(), Event(), list[Note]()

    def stuck(_: object) -> str:
        at_work.set()
        go_on.wait()
        return ""

    hook = EventHook(Delivery("tell", stuck), notes.append)
    hook.put(event(0))
    assert at_work.wait(WAIT_S)
    for frame in range(1, MOST_WAITING + 6):
        hook.put(event(frame))
    go_on.set()
    hook.close(monotonic() + WAIT_S)
    assert [note.text for note in notes] == [
        f"--on-event tell: 5 of {MOST_WAITING + 6} events were not delivered (too slow)"
    ]


def test_what_is_not_delivered_in_time_is_counted() -> None:
    go_on, notes = Event(), list[Note]()
    hook = EventHook(Delivery("tell", lambda _: str(go_on.wait() and "")), notes.append)
    for frame in range(3):
        hook.put(event(frame))
    hook.close(monotonic() + 0.1)
    assert [note.text for note in notes] == [
        "--on-event tell: 3 of 3 events were not delivered (too slow)"
    ]
    go_on.set()


@pytest.mark.parametrize("text", ["no-such-program x", '"open quote', ""])
def test_no_command_is_refused_before_anything_begins(text: str) -> None:
    with pytest.raises(UsageError, match="--on-event: expected"):
        delivery_to(text)


def test_an_address_that_moved_is_not_followed_with_what_was_meant_for_it(
    server: ThreadingHTTPServer,
) -> None:
    port = server.server_address[1]
    notes = deliver(f"http://me:secret@127.0.0.1:{port}/moved", range(1))
    assert [path for path, _, _ in server.got] == ["/moved"]  # type: ignore[attr-defined]
    assert notes[-1].text.endswith("1 of 1 events were not delivered (HTTP 302 Found)")


@NEEDS_SHELL
def test_a_command_may_leave_something_running_that_it_does_not_wait_for(tmp_path: Path) -> None:
    (tmp_path / "a.sh").write_text("sleep 30 &\ncat > /dev/null\n")
    began = monotonic()
    assert not deliver(f"sh {tmp_path / 'a.sh'}", range(2))
    assert monotonic() - began < 20


@NEEDS_SHELL
def test_a_command_that_takes_too_long_is_ended_with_all_that_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_hooks, "TIMEOUT_S", 1.0)
    started = tmp_path / "pid"
    (tmp_path / "a.sh").write_text(
        f"sleep 300 &\necho $! > {started}.new\nmv {started}.new {started}\nwait\n"
    )
    notes = deliver(f"sh {tmp_path / 'a.sh'}", range(1))
    assert notes[-1].text.endswith("1 of 1 events were not delivered (not done within 1 s)")
    pid = int(started.read_text())
    while is_running(pid):  # until init has taken note of its end
        sleep(0.02)


@NEEDS_SHELL
def test_of_what_a_failing_command_says_the_last_line_is_kept(tmp_path: Path) -> None:
    (tmp_path / "a.sh").write_text("seq 1 200000\nseq 1 200000 >&2\nexit 3\n")
    notes = deliver(f"sh {tmp_path / 'a.sh'}", range(1))
    assert notes[0].text.endswith("exit code 3: 200000")


def test_a_mistyped_address_is_refused_without_its_secrets() -> None:
    for text in ("htps://u:SECRET@h/x", "curl -H 'Authorization: SECRET"):
        with pytest.raises(UsageError) as raised:
            delivery_to(text)
        assert "SECRET" not in str(raised.value)


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().split()[2]
    except OSError:
        return False
    return state != "Z"
