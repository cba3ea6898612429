"""Commands and addresses that are told of events, without anybody waiting for them.

Each has a queue and a thread of its own. What does not get through is counted and said, never tried
again: an event is news, and its rows are elsewhere.
"""

import shlex
import shutil
import subprocess
from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from queue import Full, Queue
from threading import Thread
from time import monotonic
from typing import NamedTuple
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit
from urllib.request import Request, urlopen

from tubedet.errors import UsageError
from tubedet.live.action_events import ActionEvent
from tubedet.notes import Note

TIMEOUT_S = 10.0  # of one event, and of all that wait when the run ends
MOST_WAITING = 1_000


class EventHook:
    """One command or address, with its thread.

    Args:
        delivery: to it.
        told: called from the hook's thread with what went wrong: the first time, and when the
            reason changes.
    """

    def __init__(self, delivery: "Delivery", told: Callable[[Note], None]) -> None:
        self.name, self._deliver = delivery
        self._told = told
        self._queue: Queue[str | None] = Queue(MOST_WAITING)
        self._handed_over = self._delivered = 0
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
        while (event := self._queue.get()) is not None:
            reason = self._deliver(event)
            self._delivered += not reason
            if reason and reason != self._reason:
                self._told(Note(f"--on-event {self.name}: {reason}", loss=True))
                self._reason = reason


class Delivery(NamedTuple):
    """What messages call a command or address, and what tells it of an event: why not, or ""."""

    name: str
    deliver: Callable[[str], str]


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
        raise UsageError(f"--on-event: expected a command, found {text!r}: {error}") from error
    if not command or shutil.which(command[0]) is None:
        raise UsageError(
            f"--on-event: expected http://…, https://… or a command, found no program of the name "
            f"{command[0] if command else text!r}"
        )
    return Delivery(command[0], lambda event: _run(command, event))


def _run(command: list[str], event: str) -> str:
    try:
        done = subprocess.run(
            command,
            check=False,
            input=event + "\n",
            text=True,
            capture_output=True,  # stdout belongs to the rows
            errors="replace",
            timeout=TIMEOUT_S,
            start_new_session=True,  # Ctrl-C ends the run, not what it still has to deliver
        )
    except subprocess.TimeoutExpired:
        return f"not done within {TIMEOUT_S:g} s"
    except OSError as error:
        return error.strerror or str(error)
    if not done.returncode:
        return ""
    said = done.stderr.strip().splitlines()
    return f"exit code {done.returncode}" + (f": {said[-1]}" if said else "")


def _posted(url: str, event: str) -> str:
    headers = {"Content-Type": "application/json"}
    address = urlsplit(url)
    if address.username is not None:
        user = f"{unquote(address.username)}:{unquote(address.password or '')}"
        headers["Authorization"] = f"Basic {b64encode(user.encode()).decode()}"
        url = address._replace(netloc=address.netloc.rpartition("@")[2]).geturl()
    request = Request(url, event.encode(), headers)
    try:
        with urlopen(request, timeout=TIMEOUT_S):
            return ""
    except HTTPError as error:
        error.close()
        return f"HTTP {error.code} {error.reason}"
    except URLError as error:
        return str(getattr(error.reason, "strerror", None) or error.reason)
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error) or type(error).__name__
