"""Decoded pictures to 8-bit RGB as a player shows them: upright, with the right colours.

Each picture goes by what it says of itself (pixel format, colour tags, display matrix, interlaced
or not); only the size is the first picture's. Sample aspect ratio is left alone.
"""

from contextlib import suppress
from fractions import Fraction
from math import atan2, degrees
from typing import Any, NamedTuple

import av
import numpy as np
from av.filter import Graph
from av.sidedata.sidedata import SideDataContainer
from av.sidedata.sidedata import Type as SideDataType
from av.video.plane import VideoPlane
from av.video.reformatter import (
    ColorPrimaries,
    ColorRange,
    Colorspace,
    Interpolation,
    VideoReformatter,
)
from numpy.typing import NDArray

from tubedet.notes import Note
from tubedet.video.tone_mapping import HDR_NAMES, tone_map

HD_WIDTH, HD_HEIGHT = 1280, 720
UNSPECIFIED = 2  # AVCOL_SPC_UNSPECIFIED
# AVColorSpace: the matrices that swscale knows. It gives up at the others, and at reserved numbers.
MATRICES = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
}
# Without full chroma, pictures of more than 8 bits are up to 4 levels off.
SCALING = Interpolation.BILINEAR | Interpolation.FULL_CHR_H_INT
BT2020_OR_UNTAGGED = {ColorPrimaries.BT2020, ColorPrimaries.UNSPECIFIED}
SQUARE_TOLERANCE_DEG = 0.5


class Orientation(NamedTuple):
    """How a stored picture becomes upright: mirrored left to right or not, then turned."""

    mirrored: bool
    turn_deg: float  # clockwise, as the source says it

    @property
    def rotation(self) -> int:
        """The nearest quarter turn: 0, 90, 180 or 270 degrees clockwise."""
        return round(self.turn_deg / 90) * 90 % 360

    @property
    def is_square(self) -> bool:
        """Whether the turn is one of the four that can be applied."""
        return abs((self.turn_deg + 45) % 90 - 45) <= SQUARE_TOLERANCE_DEG

    def stored_size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height before the turn of a picture that has these after it, or vice versa."""
        return (width, height) if self.rotation % 180 == 0 else (height, width)

    def apply(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The stored picture (H, W, 3) upright, C-contiguous."""
        mirrored = rgb[:, ::-1] if self.mirrored else rgb
        return np.ascontiguousarray(np.rot90(mirrored, k=-self.rotation // 90))


class PictureConverter:
    """Converts the pictures of one video stream to RGB in the upright size of its first one.

    Attributes:
        width, height: of every converted picture.
        rotation: of the first picture, 0, 90, 180 or 270 degrees clockwise, after its mirroring.
        mirrored: whether the first picture is mirrored left to right before it is turned.
        notes: what was done to pictures so far beyond the conversion that their tags ask for.
    """

    notes: list[Note]

    def __init__(self, first: av.VideoFrame) -> None:
        orientation = orientation_of(first)
        self.mirrored, self.rotation = orientation.mirrored, orientation.rotation
        self.width, self.height = orientation.stored_size(first.width, first.height)
        self.notes = []
        self._reformatter = VideoReformatter()

    def to_rgb(self, picture: av.VideoFrame) -> NDArray[np.uint8]:
        """The picture (height, width, 3) RGB, upright, C-contiguous, in the first one's size.

        An interlaced picture loses its combs in place: lines of its bottom field keep to what lies
        between the lines around them, so that what moves is seen at the time of the top field.

        Raises:
            av.FFmpegError: if FFmpeg cannot convert its pixel format.
        """
        self.take_notes(picture)
        orientation = orientation_of(picture)
        if picture.interlaced_frame:
            picture = self._deinterlaced(picture)
        size = orientation.stored_size(self.width, self.height)
        if picture.color_trc in HDR_NAMES:
            return orientation.apply(self._tone_mapped(picture, size))
        rgb = self._reformat(picture, "rgb24", size).to_ndarray()
        return orientation.apply(np.asarray(rgb, dtype=np.uint8))

    def take_notes(self, picture: av.VideoFrame) -> None:
        """Note what there is to be said of a picture, whether it is converted or not."""
        orientation = orientation_of(picture)
        if not orientation.is_square:
            self._note(
                f"the pictures are to be turned by {orientation.turn_deg:.1f}°, which is no square "
                f"turn: they were turned by {orientation.rotation}°"
            )
        if orientation.stored_size(picture.width, picture.height) != (self.width, self.height):
            self._note(
                "pictures of another size than the first were resized to "
                f"{self.width}x{self.height}"
            )
        if picture.interlaced_frame:
            self._note("interlaced pictures were deinterlaced: what moves is the top field's")
        if picture.color_trc in HDR_NAMES:
            self._note(
                f"HDR ({HDR_NAMES[picture.color_trc]}) was tone-mapped to BT.709: white is 203 "
                "cd/m², what is brighter is shown as white"
            )
        matrix = self._matrix(picture)
        if picture.colorspace not in (*MATRICES, UNSPECIFIED) and not _is_rgb_or_gray(picture):
            self._note(
                f"colours are tagged with a matrix (number {picture.colorspace} of ITU-T H.273) "
                f"that cannot be read: taken as {matrix.name}",
                loss=True,
            )

    def _tone_mapped(self, picture: av.VideoFrame, size: tuple[int, int]) -> NDArray[np.uint8]:
        pixel_format, white = _hdr_rgb_format(picture)
        return tone_map(
            self._reformat(picture, pixel_format, size).to_ndarray(),
            picture.color_trc,
            white=white,
            bt2020_primaries=picture.color_primaries in BT2020_OR_UNTAGGED,
        )

    def _deinterlaced(self, picture: av.VideoFrame) -> av.VideoFrame:
        # In packed formats a pixel's neighbours above and below aren't always whole numbers.
        if picture.format.is_planar:
            picture.make_writable()  # decoders predict further pictures from this one
        else:
            picture = self._reformat(picture, "gbrp", (picture.width, picture.height))
        depth = picture.format.components[0].bits
        byte_order = ">" if picture.format.is_big_endian else "<"
        for plane in picture.planes:
            _remove_combs(_rows(plane, "u1" if depth <= 8 else f"{byte_order}u2"))
        return picture

    def _reformat(
        self, picture: av.VideoFrame, pixel_format: str, size: tuple[int, int]
    ) -> av.VideoFrame:
        return self._reformatter.reformat(
            picture,
            *size,
            pixel_format,
            src_colorspace=self._matrix(picture),
            interpolation=SCALING,
            threads=1,  # a second one costs more than it saves up to full HD
        )

    def _matrix(self, picture: av.VideoFrame) -> Colorspace:
        """The matrix of YCbCr that a picture is tagged with, else the one that players assume."""
        if picture.colorspace in MATRICES:
            return MATRICES[picture.colorspace]
        is_hd = picture.width >= HD_WIDTH or picture.height >= HD_HEIGHT
        assumed = Colorspace.ITU709 if is_hd else Colorspace.ITU601
        if picture.color_trc in HDR_NAMES:
            return Colorspace.BT2020
        return assumed

    def _note(self, text: str, loss: bool = False) -> None:
        note = Note(text, loss)
        if note not in self.notes:
            self.notes.append(note)


def orientation_of(picture: av.VideoFrame) -> Orientation:
    """What the picture's display matrix asks for; without one, neither mirroring nor turn.

    The matrix maps a stored point (x, y) to the point (a x + c y, b x + d y) of the display, y
    downwards. Translation and scale are not looked at. Source: FFmpeg, libavutil/display.h.
    """
    side_data = _side_data(picture)
    if SideDataType.DISPLAYMATRIX not in side_data:
        return Orientation(mirrored=False, turn_deg=0.0)
    matrix = np.frombuffer(bytes(side_data[SideDataType.DISPLAYMATRIX]), dtype=np.int32)
    a, b, _, c, d = matrix[:5].tolist()
    mirrored = a * d < b * c
    if mirrored:
        a, b = -a, -b
    return Orientation(mirrored, degrees(atan2(b - c, a + d)) % 360)


def _side_data(picture: av.VideoFrame) -> SideDataContainer:
    """What lies beside the pixels. PyAV refuses it all if it doesn't know one kind, such as the
    EXIF of a photo: kinds newer than PyAV are taken out first."""
    with suppress(ValueError):
        return _container(picture)
    unknown = range(len(SideDataType), len(SideDataType) + 32)
    graph = Graph()
    graph.threads = 1
    source = graph.add_buffer(
        width=picture.width,
        height=picture.height,
        format=picture.format,
        time_base=Fraction(1),
    )
    removals = [graph.add("sidedata", f"mode=delete:type={kind}") for kind in unknown]
    graph.link_nodes(source, *removals, graph.add("buffersink")).configure()
    graph.vpush(picture)
    return _container(graph.vpull())


def _container(picture: av.VideoFrame) -> SideDataContainer:
    """`picture.side_data`, which the picture would keep: a cycle, and so would hundreds of pictures
    be kept in memory until Python looks for cycles."""
    return SideDataContainer(picture)  # type: ignore[call-arg]


def _rows(plane: VideoPlane, dtype: str) -> NDArray[Any]:
    """The plane's lines with their padding, (H, line size); changes to it change the plane."""
    return np.frombuffer(memoryview(plane), dtype=dtype).reshape(plane.height, -1)


def _remove_combs(rows: NDArray[Any]) -> None:
    """Clip every second row, in place, to what lies between the rows above and below it."""
    bottom_field = rows[1::2]
    above = rows[0::2][: len(bottom_field)]
    below = np.concatenate([rows[2::2], above[-1:]])[: len(bottom_field)]
    np.clip(bottom_field, np.minimum(above, below), np.maximum(above, below), out=bottom_field)


def _is_rgb_or_gray(picture: av.VideoFrame) -> bool:
    colours = [part for part in picture.format.components if not part.is_alpha]
    return picture.format.is_rgb or len(colours) < 3


def _hdr_rgb_format(picture: av.VideoFrame) -> tuple[str, int]:
    """The RGB format to which swscale converts the picture exactly, and its value for white.

    Of two saturated colours a thousandth apart, one can lack a channel in which the other has 20
    levels. So RGB must not go through YCbCr, as it does on its way to gbrp16, nor 4:2:0 to rgb48,
    where swscale 9 writes wrong colours.
    """
    depth = min(picture.format.components[0].bits, 16)
    if picture.format.is_rgb:
        return ("rgb24", 255) if depth <= 8 else ("rgb48le", 65535)
    is_full_range = picture.color_range == ColorRange.JPEG or _is_rgb_or_gray(picture)
    white = ((1 << depth) - 1) << (16 - depth)  # code values are shifted
    return "gbrp16le", white if is_full_range else 255 << 8
