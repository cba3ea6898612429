"""What can be said to `tubedet detect --live`, and what it means."""

import re
from contextlib import suppress
from fractions import Fraction
from ipaddress import ip_address
from typing import Annotated

from typer import Option

from tubedet.errors import UsageError

LIVE = "Live"
SHORTEST_S = 1  # names tell seconds
UNITS_S = {"s": 1, "m": 60, "h": 3600}

Live = Annotated[
    bool,
    Option(
        "--live",
        help="Detect in camera:0, rtsp://…, http://… or - (stdin) as it comes, until Ctrl-C: JSON "
        "lines on stdout, and files if -o, -f or --segment is given.",
        rich_help_panel=LIVE,
    ),
]
Segment = Annotated[
    str | None,
    Option(
        metavar="LENGTH",
        help="Record in files of this length: 90 (seconds), 10m, 1h or 00:10:00.",
        show_default="10m, if anything is recorded",
        rich_help_panel=LIVE,
    ),
]
Show = Annotated[
    bool,
    Option(
        "--show",
        help="Show the stream with its boxes on a page, which only this machine sees and only at "
        "an address that is said; opened in the browser where there is a display.",
        rich_help_panel=LIVE,
    ),
]
ShowAt = Annotated[
    str | None,
    Option(
        metavar="HOST[:PORT]",
        help="As --show, for other machines too: whoever has the address sees the stream.",
        show_default="127.0.0.1, a free port",
        rich_help_panel=LIVE,
    ),
]
OnEvent = Annotated[
    list[str] | None,
    Option(
        metavar="COMMAND|URL",
        help="Tell a command (on its stdin) or an address (by POST) as JSON when an action starts "
        "or ends that lasts half a second or longer; repeatable.",
        rich_help_panel=LIVE,
    ),
]


def segment_length_s(text: str) -> Fraction:
    """`90` or `90s`, `10m`, `1h`, `00:10:00` in seconds; UsageError for anything else."""
    from tubedet.video.time_range import Seconds, parse_moment

    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    try:
        length = Seconds(Fraction(match[1]) * UNITS_S[match[2]]) if match else parse_moment(text)
    except UsageError:
        length = None
    if not isinstance(length, Seconds) or length.value < SHORTEST_S:
        raise UsageError(
            f"--segment: expected 1 second or longer, as in 90, 10m, 1h or 00:10:00, found {text!r}"
        )
    return length.value


def host_and_port(text: str) -> tuple[str, int]:
    """`HOST`, `HOST:PORT`, `[::1]:PORT` or `::1`, port 0 if none is told; UsageError otherwise."""
    host = r"\[(?P<six>[^\]]+)\]|(?P<host>[^:\[\]]+)"
    match = re.fullmatch(rf"(?:{host})(?::(?P<port>\d{{1,5}}))?", text)
    with suppress(ValueError):
        return str(ip_address(text)), 0
    port = int(match["port"] or 0) if match else 0
    if match is None or port > 65_535:
        raise UsageError(f"--show-at: expected HOST or HOST:PORT, found {text!r}")
    return match["six"] or match["host"], port
