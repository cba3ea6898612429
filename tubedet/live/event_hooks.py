"""Commands and addresses that are told of events, without anybody waiting for them.

Each has a queue and a thread of its own. What does not get through is counted and said, never tried
again: an event is news, and its rows are elsewhere.
"""

import os
import shlex
import shutil
import signal
import subprocess
from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from queue import Full, Queue
from tempfile import TemporaryFile
from threading import Thread
from time import monotonic
from typing import IO, Any, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from tubedet.errors import UsageError
from tubedet.live.action_events import ActionEvent
from tubedet.notes import Note

TIMEOUT_S = 10.0  # of one event, and of all that wait when the run ends
MOST_WAITING = 1_000
MOST_SAID = 1_000  # bytes of what a command says on stderr


class EventHook:
    """One command or address, with its thread.

    Args:
        delivery: to it.
        told: called from the hook's thread with what went wrong: the first time, and when the
            reason changes.
    """

    def __init__(self, delivery: "Delivery", told: Callable[[Note], None]) -> None:
        self.name, self._deliver, self._abandon = delivery
        self._told = told
        self._queue: Queue[str | None] = Queue(MOST_WAITING)
        self._handed_over = self._delivered = 0
        self._is_over = False
        self._reason = ""
        self._thread = Thread(target=self._work, name="tubedet-event", daemon=True)
        self._thread.start()

    def put(self, event: ActionEvent) -> None:
        """Hand an event over; one that finds too many waiting is dropped."""
        self._handed_over += 1
        with suppress(Full):
            self._queue.put_nowait(event.to_json())

    def close(self, deadline: float) -> None:
        """Deliver what waits, until `deadline` (as `monotonic` counts), and say what was lost."""
        with suppress(Full):
            self._queue.put(None, timeout=max(0.0, deadline - monotonic()))
        self._thread.join(max(0.0, deadline - monotonic()))
        self._is_over = True
        self._abandon()
        if lost := self._handed_over - self._delivered:
            reason = self._reason or "too slow"
            self._told(
                Note(
                    f"--on-event {self.name}: {lost} of {self._handed_over} events were not "
                    f"delivered ({reason})",
                    loss=True,
                )
            )

    def _work(self) -> None:
        while (event := self._queue.get()) is not None and not self._is_over:
            reason = self._deliver(event)
            self._delivered += not reason
            if reason and reason != self._reason:
                self._told(Note(f"--on-event {self.name}: {reason}", loss=True))
                self._reason = reason


class Delivery(NamedTuple):
    """How a command or address is told of events.

    Attributes:
        name: what messages call it.
        deliver: tells it of one: why it could not, or "".
        abandon: ends what `deliver` is at.
    """

    name: str
    deliver: Callable[[str], str]
    abandon: Callable[[], None] = lambda: None


def delivery_to(text: str) -> Delivery:
    """To `http://…` or `https://…` by POST; anything else is a command, which gets it on its stdin.

    Raises:
        UsageError: if there is no such command.
    """
    if text.lower().startswith(("http://", "https://")):
        address = urlsplit(text)
        # The rest of an address often is a secret.
        name = f"{address.scheme}://{address.netloc.rpartition('@')[2]}"
        return Delivery(name, lambda event: _posted(text, event))
    try:
        command = shlex.split(text)
    except ValueError as error:
        raise UsageError(f"--on-event: expected a command: {error}") from None  # it may hold a key
    if not command or shutil.which(command[0]) is None:
        raise UsageError(
            "--on-event: expected http://…, https://… or a command, found no program of the name "
            f"{_without_secrets(command[0]) if command else repr('')}"
        )
    runs = _CommandRuns(command)
    return Delivery(command[0], runs.run, runs.end)


def _without_secrets(name: str) -> str:
    """A program's name, or the beginning of an address that is mistyped."""
    scheme, is_address, _ = name.partition("://")
    return f"{scheme}://…" if is_address else name


class _CommandRuns:
    """A command, which runs once an event."""

    def __init__(self, command: list[str]) -> None:
        self._command = command
        self._running: subprocess.Popen[bytes] | None = None

    def run(self, event: str) -> str:
        """Let it run with an event on its stdin: why it failed, or ""."""
        with TemporaryFile() as said:  # what a command leaves running would keep a pipe open
            try:
                self._running = process = subprocess.Popen(
                    self._command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,  # that of the program belongs to the rows
                    stderr=said,
                    start_new_session=True,  # Ctrl-C ends the run, not what it has to deliver
                )
            except OSError as error:
                return error.strerror or str(error)
            try:
                assert process.stdin is not None
                with suppress(BrokenPipeError), process.stdin as its_stdin:
                    its_stdin.write(event.encode() + b"\n")
                code = process.wait(TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.end()
                return f"not done within {TIMEOUT_S:g} s"
            return f"exit code {code}{_last_line(said)}" if code else ""

    def end(self) -> None:
        """End it, and what it has started itself."""
        process = self._running
        if process is None or process.poll() is not None:
            return
        with suppress(OSError):
            if hasattr(os, "killpg"):
                os.killpg(process.pid, signal.SIGKILL)
            process.kill()
        process.wait()


def _last_line(said: IO[bytes]) -> str:
    length = said.seek(0, os.SEEK_END)
    said.seek(max(0, length - MOST_SAID))
    lines = said.read().decode(errors="replace").strip().splitlines()
    return f": {lines[-1]}" if lines else ""


class _NoRedirects(HTTPRedirectHandler):
    """An event goes where it was told to go: elsewhere its password would be read by others."""

    def redirect_request(self, *request: Any) -> None:
        return None


def _posted(url: str, event: str) -> str:
    headers = {"Content-Type": "application/json"}
    address = urlsplit(url)
    if address.username is not None:
        user = f"{unquote(address.username)}:{unquote(address.password or '')}"
        headers["Authorization"] = f"Basic {b64encode(user.encode()).decode()}"
        url = address._replace(netloc=address.netloc.rpartition("@")[2]).geturl()
    request = Request(url, event.encode(), headers)
    try:
        with build_opener(_NoRedirects).open(request, timeout=TIMEOUT_S):
            return ""
    except HTTPError as error:
        error.close()
        return f"HTTP {error.code} {error.reason}"
    except URLError as error:
        return str(getattr(error.reason, "strerror", None) or error.reason)
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error) or type(error).__name__
