"""Opening a source: the one place that says what is a video file, and which of its streams is it.

A folder of images, or the pattern of their names (`folder/%05d.jpg`), is a video too, 25 images a
second. Playlists are refused: they name other files and network addresses.
"""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, TypeAlias

import av
from av.container import InputContainer
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from tubedet.errors import VideoError
from tubedet.video.file_names import PATTERN, is_image_name

AnyPacket: TypeAlias = "av.Packet[Stream]"

NOT_VIDEO_FORMATS = {"tty", "hls", "dash", "concat"}  # FFmpeg draws any .txt; the rest: playlists
IMAGE_CODECS = {"mjpeg", "png", "bmp", "gif", "webp", "tiff", "jpegls", "jpeg2000"}
IMAGES_A_SECOND = 25
ERRORS_IN_A_ROW, ERRORS_IN_ALL = 8, 200  # of a damaged container, before its reading is given up


@contextmanager
def open_container(path: Path) -> Iterator[InputContainer]:
    """The container of a video file, or of a folder or pattern of images, while it is open.

    Raises:
        VideoError: if there is none, or FFmpeg cannot open it.
    """
    try:
        container = _opened(path)
    except av.FFmpegError as error:
        raise VideoError(
            f"{path}: expected a video file, found data that cannot be read "
            f"({error.strerror}); check that it is complete and plays elsewhere"
        ) from error
    except OSError as error:
        raise VideoError(
            f"{path}: expected a video file, found a path that cannot be read "
            f"({error.strerror}); check its name and its permissions"
        ) from error
    with container:
        yield container


class PacketReader:
    """The packets of all streams in file order, past damage as far as the container can be read.

    `errors` counts the places where it could not, up to the packet that was given last, and `end`
    is the byte behind the furthest packet so far. Errors that are none of `passed_over` are raised.
    """

    passed_over: ClassVar[type[av.FFmpegError]] = av.FFmpegError

    def __init__(self, container: InputContainer) -> None:
        self._container = container
        self.errors = self.end = 0

    def __iter__(self) -> Iterator[AnyPacket]:
        in_a_row = 0
        streams = list(self._container.streams)
        while in_a_row < ERRORS_IN_A_ROW and self.errors < ERRORS_IN_ALL:
            try:
                for packet in self._container.demux(streams):
                    # An empty packet would end the decoder, as those behind the last one do.
                    if packet.size:
                        in_a_row = 0
                        start = self.end if packet.pos is None else packet.pos
                        self.end = max(self.end, start + packet.size)
                        yield packet
                return
            except IndexError:  # a stream that appears midway, which PyAV does not know
                in_a_row += 1
            except self.passed_over:
                in_a_row += 1
                self.errors += in_a_row == 1


def images_of(path: Path) -> list[Path]:
    """The images that a folder or a pattern of names stands for, in the order of their numbers.

    None at all (an empty list) if the path is neither. Empty files are left out, and so are, in a
    folder, images of another suffix than most have.
    """
    images = [image for image in _all_images_of(path) if image.stat().st_size]
    suffixes = [image.suffix.lower() for image in images]
    commonest = max(sorted(set(suffixes)), key=suffixes.count, default="")
    return sorted((image for image in images if image.suffix.lower() == commonest), key=_natural)


def images_left_out(path: Path) -> int:
    """How many images of a folder or pattern `images_of` leaves out."""
    return len(_all_images_of(path)) - len(images_of(path))


def video_stream_of(
    container: InputContainer, path: Path | str, wanted: int | None = None
) -> VideoStream:
    """The video stream number `wanted`, from 1 in the file's order; by default the real video.

    Raises:
        VideoError: if the file has no such stream, or none at all that can be decoded.
    """
    streams = container.streams.video
    if wanted is not None and not 1 <= wanted <= len(streams):
        listed = ", ".join(describe_stream(stream) for stream in streams) or "no video stream"
        raise VideoError(f"{path}: expected a video stream of the file, found {wanted}: {listed}")
    found = moving_streams(container) if wanted is None else [streams[wanted - 1]]
    by_default = [stream for stream in found if stream.disposition & Disposition.default]
    chosen = next(iter(by_default or found), None)
    if chosen is None or not chosen.codec_context:
        kinds = ", ".join(f"{stream.type} ({codec_name(stream)})" for stream in container.streams)
        raise VideoError(
            f"{path}: expected a video stream that can be decoded, found "
            f"{kinds or 'no stream'}; give a video that shows a picture"
        )
    return chosen


def moving_streams(container: InputContainer) -> list[VideoStream]:
    """The streams that show a video, in the file's order: neither covers nor thumbnails.

    A single picture that no video stands beside is a video of one frame.
    """
    streams = [
        stream
        for stream in container.streams.video
        if not stream.disposition & Disposition.attached_pic and stream.codec_context
    ]
    return [stream for stream in streams if not _is_thumbnail(stream, streams)] or streams


def number_of(stream: VideoStream) -> int:
    """Where a stream stands among the video streams of its file, from 1."""
    return stream.container.streams.video.index(stream) + 1


def describe_stream(stream: VideoStream) -> str:
    """A video stream in words, such as "1 is h264 of 320x180"."""
    size = f" of {stream.width}x{stream.height}" if stream.codec_context else ""
    return f"{number_of(stream)} is {codec_name(stream)}{size}"


def codec_name(stream: Stream) -> str:
    """FFmpeg's name of a stream's codec."""
    return stream.codec_context.codec.canonical_name if stream.codec_context else "unknown codec"


def _opened(path: Path) -> InputContainer:
    images = images_of(path)
    if not images and (problem := _problem_of_path(path)):
        raise VideoError(f"{path}: expected a video file, found {problem}")
    formats = av.formats_available - NOT_VIDEO_FORMATS
    if images:
        # Any names and gaps, unlike image2's patterns; the list is ours, so no playlist of others.
        return av.open(
            io.BytesIO(_image_list(images).encode(errors="surrogateescape")),
            mode="r",
            format="concat",
            options={"format_whitelist": ",".join(formats | {"concat"}), "safe": "0"},
        )
    return av.open(
        f"file:{path}",  # else a name such as "http:…" would be an address
        metadata_errors="replace",
        options={"format_whitelist": ",".join(formats)},
    )


def _all_images_of(path: Path) -> list[Path]:
    if path.is_dir():
        return [file for file in path.iterdir() if _is_image(file)]
    match, folder = PATTERN.search(path.name), path.parent
    if path.exists() or not match or not folder.is_dir():
        return []
    before, after = path.name[: match.start()], path.name[match.end() :]
    number = rf"\d{{{max(1, int(match[1] or 1))},}}"
    name = re.compile(re.escape(before) + number + re.escape(after))
    return [file for file in folder.iterdir() if name.fullmatch(file.name) and file.is_file()]


def _image_list(images: list[Path]) -> str:
    lines = ["ffconcat version 1.0"]
    for image in images:
        name = str(image.absolute())
        if "\n" in name or "\r" in name:
            raise VideoError(f"{name!r}: expected a name of one line; rename the image")
        quoted = name.replace("'", r"'\''")
        lines += [f"file 'file:{quoted}'", f"duration {1 / IMAGES_A_SECOND}"]
    return "\n".join(lines) + "\n"


def _is_image(file: Path) -> bool:
    return is_image_name(file.name) and file.name[0] != "." and file.is_file()


def _natural(file: Path) -> list[tuple[int, str]]:
    """Orders img9 before img10: digits as numbers, the rest as text."""
    parts = re.split(r"(\d+)", file.name)
    return [(int(part), part) if part.isdecimal() else (0, part) for part in parts]


def _is_thumbnail(stream: VideoStream, streams: list[VideoStream]) -> bool:
    """Whether a stream is a single picture; where its frames are not counted, its codec tells."""
    if stream.disposition & (Disposition.still_image | Disposition.timed_thumbnails):
        return True
    if stream.frames or codec_name(stream) not in IMAGE_CODECS:
        return stream.frames == 1
    return any(codec_name(other) not in IMAGE_CODECS for other in streams)


def _problem_of_path(path: Path) -> str | None:
    """What is wrong with a path before its content is looked at, in words."""
    if path.is_dir():
        return "a folder without images; name a file in it"
    if not path.exists():
        return "nothing there; check the path"
    if not path.is_file():
        return "a pipe or device; save the video to a file first"
    if path.stat().st_size == 0:
        return "an empty file (0 bytes); fetch or export it again"
    return None
