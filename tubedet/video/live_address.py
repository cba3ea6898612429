"""Addresses of live video: this machine's cameras, those and servers of a network, and a pipe."""

import re
import sys
from dataclasses import dataclass, field

PIPE = "-"
CAMERA = "camera:"
NETWORK_SCHEMES = ("rtsp", "rtsps", "http", "https", "rtmp", "rtmps", "udp", "srt", "tcp")
RTSP_SCHEMES = ("rtsp", "rtsps")
PLAYLISTS = (".m3u8", ".mpd")
HIDDEN = "***"

_NETWORK = re.compile(rf"(?:{'|'.join(NETWORK_SCHEMES)})://.+", re.IGNORECASE)
# Passwords should be percent-encoded, but are not: any of "/?#:@" may stand in them. So rather too
# much is left out: to the last @ before what looks like a query, or in it where no port precedes.
_USER_PASSWORD = re.compile(r"(:/{1,2}[^/:\[]*):(?:(?:(?!\?[\w.-]+=).)*@|(?!\d{1,5}(?:[/?]|$)).*@)")
_NAMED_SECRET = re.compile(
    r"((?:pass(?:word|wd|phrase|code)?|pwd?|psk|token|secret|auth(?:orization)?|credentials?|jwt|"
    r"hmac|key|sig(?:nature)?)(?:=|%3D))(?:(?![,;?][\w.-]+=|%2C|%26)[^&])+",
    re.IGNORECASE,
)
# ACTION:PATH:USER:PASSWORD, as MediaMTX has it
_STREAM_ID_PASSWORD = re.compile(r"(streamid=\w+:[^:&]*:[^:&]*:)[^&]+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class LiveSource:
    """Where live video comes from.

    Attributes:
        name: what messages call it, without a password.
        stem: a name for files made of it.
        opened, format_name, options: what FFmpeg opens, as what (None: it finds out), and how;
            `opened` may hold a password.
    """

    name: str
    stem: str
    opened: str = field(repr=False)
    format_name: str | None = None
    options: tuple[tuple[str, str], ...] = ()

    @property
    def is_pipe(self) -> bool:
        """Whether it is the standard input, which ends and cannot be opened again."""
        return self.name == PIPE

    @property
    def is_network(self) -> bool:
        """Whether pictures come over a network."""
        return bool(_NETWORK.fullmatch(self.opened))

    @property
    def is_playlist(self) -> bool:
        """Whether the address is that of a list of other addresses, by its name."""
        return re.split("[?#]", self.opened)[0].lower().endswith(PLAYLISTS)


def live_source_of(text: str) -> LiveSource | None:
    """The source that a text such as `camera:0`, `rtsp://…` or `-` names; None if it names none."""
    if text == PIPE:
        return LiveSource(PIPE, "stdin", "pipe:0")
    if text.startswith(CAMERA) and text != CAMERA:
        return _camera(text.removeprefix(CAMERA))
    if _NETWORK.fullmatch(text):
        return _network_source(text)
    return None


def without_secrets(address: str) -> str:
    """An address as it may be shown: passwords, keys and tokens in it are left out."""
    shown = _USER_PASSWORD.sub(rf"\1:{HIDDEN}@", address)
    for secret in (_STREAM_ID_PASSWORD, _NAMED_SECRET):
        shown = secret.sub(rf"\1{HIDDEN}", shown)
    return shown


def _camera(device: str) -> LiveSource:
    """A camera by its number or by the name that the system gives it."""
    name, stem = CAMERA + device, f"camera-{_as_stem(device)}"
    if sys.platform == "darwin":
        # It refuses a rate that it has not; 30 is the one that all of Apple's have.
        return LiveSource(name, stem, device, "avfoundation", (("framerate", "30"),))
    if sys.platform == "win32":
        # The number is FFmpeg's `video_device_number`, which only counts devices of one name.
        return LiveSource(name, stem, f"video={device}", "dshow")
    return LiveSource(name, stem, f"/dev/video{device}" if device.isdecimal() else device, "v4l2")


def _network_source(address: str) -> LiveSource:
    name = without_secrets(address)
    scheme, _, place = name.partition("://")
    stem = _as_stem(re.sub(r"^[^/]*@|[?#].*", "", place))
    options: tuple[tuple[str, str], ...] = ()
    if scheme.lower() in RTSP_SCHEMES:
        # Over UDP, lost packets break pictures. Sound would only delay the beginning.
        options = (("rtsp_flags", "prefer_tcp"), ("allowed_media_types", "video"))
    return LiveSource(name, stem, address, options=options)


def _as_stem(text: str) -> str:
    return re.sub(r"[^\w.]+", "-", text, flags=re.ASCII).strip("-.") or "live"
