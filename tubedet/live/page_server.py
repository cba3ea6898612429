"""A page that shows a stream while it runs: pictures with boxes, and how the run stands.

Its address holds a secret word, without which there is nothing. Pictures are a motion JPEG, which
browsers show without a script, encoded while somebody looks; who is slow misses some.
"""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from math import inf
from secrets import compare_digest, token_urlsafe
from socket import AF_INET6, SHUT_RDWR, gethostname
from socketserver import TCPServer
from threading import Thread
from time import monotonic
from typing import Any, ClassVar
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from tubedet.errors import OutputError
from tubedet.live.latest_picture import LatestPicture
from tubedet.page.live_page import live_html

LOOPBACK = "127.0.0.1"
SILENCE_S = 30.0  # a viewer that takes nothing for so long is gone
HEAD_S = 5.0  # within which a request has to be there
MOST_CONNECTIONS = 32  # each takes a thread and a file descriptor, with the token or without
POLL_S = 0.1  # how often it is asked whether to go on
BOUNDARY = "picture"
PART_BEGIN = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\n\r\n".encode()


class LivePage:
    """The page and its server.

    Attributes:
        address: where a browser finds it.
    """

    def __init__(
        self, title: str, status: Callable[[], Mapping[str, Any]], host: str, port: int
    ) -> None:
        """Serve until `close`.

        Args:
            title: of the page.
            status: how the run stands, as plain JSON values; called from other threads.
            host: the name or number of this machine that the page is bound to.
            port: 0 for a free one.

        Raises:
            OutputError: if nothing can be bound there.
        """
        self.title, self.status = title, status
        self.pictures = LatestPicture()
        self.token = token_urlsafe(16)
        self.host = host
        try:
            self._server = _Server6((host, port)) if ":" in host else _Server((host, port))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise OutputError(f"cannot serve a page at {host}:{port}: {reason}") from error
        self._server.page = self
        self.address = f"http://{_reachable(host)}:{self._server.server_port}/{self.token}/"
        serve = self._server.serve_forever
        self._thread = Thread(target=serve, args=(POLL_S,), name="tubedet-page", daemon=True)
        self._thread.start()

    @property
    def is_for_this_machine_alone(self) -> bool:
        """Whether no other machine can reach it."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def is_watched(self) -> bool:
        """Whether somebody looks at the pictures."""
        return self.pictures.viewers > 0

    def show(self, rgb: NDArray[np.uint8]) -> None:
        """Show the next picture to whoever looks."""
        self.pictures.put(rgb)

    def close(self) -> None:
        """Let all viewers go."""
        self.pictures.close()
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = MOST_CONNECTIONS  # one beyond the queue tries again a second later only
    page: LivePage

    def __init__(self, address: tuple[str, int]) -> None:
        self.head_until: dict[Any, float] = {}  # of all open connections; inf once it is there
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """Without asking the network what this machine is called, as `HTTPServer` does."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Close a connection at once if there are too many."""
        if len(self.head_until) >= MOST_CONNECTIONS:
            self.shutdown_request(request)
            return
        self.head_until[request] = monotonic() + HEAD_S
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection; every one ends here."""
        self.head_until.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Every `POLL_S`: hang up on those whose request does not come."""
        now = monotonic()
        for request, until in list(self.head_until.items()):
            if now > until:
                with suppress(OSError):  # it may be closed by now
                    request.shutdown(SHUT_RDWR)

    def handle_error(self, *_: object) -> None:
        """A viewer that went away is no error."""


class _Server6(_Server):
    address_family = AF_INET6


class _Handler(BaseHTTPRequestHandler):
    """Answers requests for the page, its pictures and its status below the token; 404 to others."""

    server: _Server
    timeout = SILENCE_S
    server_version, sys_version = "tubedet", ""
    SAFETY: ClassVar[Mapping[str, str]] = {
        "Cache-Control": "no-store",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
    }

    def parse_request(self) -> bool:
        is_valid = super().parse_request()
        self.server.head_until[self.connection] = inf
        return is_valid

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        page = self.server.page
        token, slash, what = urlsplit(self.path).path.removeprefix("/").partition("/")
        is_known = compare_digest(token.encode("utf-8", "replace"), page.token.encode())
        if not (is_known and slash and self._is_for(page.host)):
            self.send_error(HTTPStatus.NOT_FOUND)
        elif what == "":
            self._send_page(page)
        elif what == "status":
            self._send(json.dumps(page.status()).encode(), "application/json")
        elif what == "picture":
            self._send_pictures(page.pictures)
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def log_message(self, *_: object) -> None:
        """Nobody reads a log of viewers."""

    def _is_for(self, host: str) -> bool:
        """Whether the request names this machine, not a foreign name that was led here."""
        named = urlsplit(f"//{self.headers.get('Host', '')}").hostname or ""
        if named in {"localhost", host.lower(), gethostname().lower()}:
            return True
        try:
            return bool(ip_address(named))
        except ValueError:
            return False

    def _send_page(self, page: LivePage) -> None:
        nonce = token_urlsafe(16)
        policy = (
            f"default-src 'none'; img-src 'self' data:; connect-src 'self'; "
            f"style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; base-uri 'none'; "
            "form-action 'none'; frame-ancestors 'none'"
        )
        html = live_html(page.title, page.status(), nonce)
        self._send(html.encode(), "text/html; charset=utf-8", policy)

    def _send(self, content: bytes, kind: str, policy: str = "default-src 'none'") -> None:
        self._begin(kind, {"Content-Length": str(len(content)), "Content-Security-Policy": policy})
        if self.command != "HEAD":
            self.wfile.write(content)

    def _send_pictures(self, pictures: LatestPicture) -> None:
        if not pictures.begin_viewing():
            self.send_error(HTTPStatus.SERVICE_UNAVAILABLE)
            return
        try:
            self._begin(f"multipart/x-mixed-replace; boundary={BOUNDARY}", {})
            if self.command == "HEAD":
                return
            self.wfile.write(PART_BEGIN)
            number = 0
            while True:
                if (latest := pictures.after(number, SILENCE_S)) is not None:
                    number, jpeg = latest
                    # Chromium shows a picture when the next one begins: so that begins at once.
                    self.wfile.write(jpeg + b"\r\n" + PART_BEGIN)
        except (OSError, EOFError):  # whoever looked is gone, or the run is over
            self.close_connection = True
        finally:
            pictures.end_viewing()

    def _begin(self, kind: str, more: Mapping[str, str]) -> None:
        self.send_response(HTTPStatus.OK)
        for name, value in {"Content-Type": kind, **self.SAFETY, **more}.items():
            self.send_header(name, value)
        self.end_headers()


def _reachable(host: str) -> str:
    """A name for the addresses of a page that is bound to `host`."""
    try:
        if ip_address(host).is_unspecified:
            return gethostname()
    except ValueError:
        return host
    return f"[{host}]" if ":" in host else host
