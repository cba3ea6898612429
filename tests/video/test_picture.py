"""How pictures stand (turned, mirrored, resized), combs of interlaced ones, rare formats."""

import io
import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
import pytest
from av.bitstream import BitStreamFilterContext
from av.filter import Graph
from av.video.stream import VideoStream
from numpy.typing import NDArray

from tests.decoded_pictures import (
    BT601,
    BT709,
    BT2020,
    FULL,
    HLG,
    LIMITED,
    PQ,
    converted,
    drawn,
    pixel,
    ycbcr,
)
from tubedet.notes import Note
from tubedet.video.picture import PictureConverter

CORNERS = {"R": (220, 20, 20), "G": (20, 200, 20), "B": (20, 20, 220), "W": (250, 250, 250)}


def decode(path: Path) -> list[av.VideoFrame]:
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def decode_bytes(data: bytes) -> list[av.VideoFrame]:
    with av.open(io.BytesIO(data), "r") as container:
        return list(container.decode(video=0))


def four_corners() -> NDArray[np.uint8]:
    """Red and green over blue and white, 48x32 px."""
    rows = [[CORNERS["R"], CORNERS["G"]], [CORNERS["B"], CORNERS["W"]]]
    return np.array(rows, np.uint8).repeat(16, axis=0).repeat(24, axis=1)


def corner_names(rgb: NDArray[np.uint8]) -> str:
    """Which colours the corners have, such as "RG/BW"."""
    colours = np.array(list(CORNERS.values()))
    corners = (rgb[y, x].astype(int) for y in (4, -5) for x in (4, -5))
    names = [list(CORNERS)[np.abs(colours - corner).max(axis=1).argmin()] for corner in corners]
    return "{}{}/{}{}".format(*names)


def encode(
    path: Path, pictures: Sequence[av.VideoFrame], codec: str = "libx264", **options: str
) -> Path:
    with av.open(str(path), "w") as output:
        stream = output.add_stream(codec, rate=25, options=options or {"crf": "5"})
        video = cast(VideoStream, stream)
        video.width, video.height = pictures[0].width, pictures[0].height
        video.pix_fmt = pictures[0].format.name
        for number, picture in enumerate(pictures):
            picture.pts, picture.time_base = number, Fraction(1, 25)
            output.mux(video.encode(picture))
        output.mux(video.encode(None))
    return path


def corners_picture() -> av.VideoFrame:
    return av.VideoFrame.from_ndarray(four_corners(), "rgb24").reformat(format="yuv444p")


def mp4_with_matrix(path: Path, matrix: Sequence[float]) -> Path:
    """An MP4 of the four corners whose track header holds a, b, u, c, d, v, x, y, w."""
    encode(path, [corners_picture()])
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44  # where a header of version 0 has it
    fixed_point = [round(value * 2**16) for value in matrix]
    data[at : at + 36] = struct.pack(">9i", *fixed_point)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("abcd", "upright", "rotation", "mirrored"),
    [
        ((1, 0, 0, 1), "RG/BW", 0, False),
        ((0, 1, -1, 0), "BR/WG", 90, False),
        ((-1, 0, 0, -1), "WB/GR", 180, False),
        ((0, -1, 1, 0), "GW/RB", 270, False),
        ((-1, 0, 0, 1), "GR/WB", 0, True),
        ((1, 0, 0, -1), "BW/RG", 180, True),
        ((0, 1, 1, 0), "RB/GW", 270, True),
        ((0, -1, -1, 0), "WG/BR", 90, True),
    ],
)
def test_each_of_the_eight_display_matrices_makes_the_picture_upright(
    tmp_path: Path, abcd: tuple[int, ...], upright: str, rotation: int, mirrored: bool
) -> None:
    a, b, c, d = abcd
    path = mp4_with_matrix(tmp_path / "a.mp4", (a, b, 0, c, d, 0, 0, 0, 2**14))
    (picture,) = decode(path)
    converter = PictureConverter(picture)
    rgb = converter.to_rgb(picture)
    assert corner_names(rgb) == upright
    assert rgb.flags.c_contiguous
    assert rgb.shape == (converter.height, converter.width, 3)
    assert (converter.width, converter.height) == ((48, 32) if rotation % 180 == 0 else (32, 48))
    assert (converter.rotation, converter.mirrored) == (rotation, mirrored)
    assert converter.notes == []


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        *((1, "RG/BW"), (2, "GR/WB"), (3, "WB/GR"), (4, "BW/RG")),
        *((5, "RB/GW"), (6, "BR/WG"), (7, "WG/BR"), (8, "GW/RB")),
    ],
)
def test_a_photo_is_turned_as_its_exif_says(orientation: int, upright: str) -> None:
    encoder = av.CodecContext.create("mjpeg", "w")
    picture = av.VideoFrame.from_ndarray(four_corners(), "rgb24").reformat(format="yuvj444p")
    encoder.width, encoder.height, encoder.pix_fmt = 48, 32, "yuvj444p"
    encoder.time_base = Fraction(1, 25)
    jpeg = b"".join(map(bytes, [*encoder.encode(picture), *encoder.encode(None)]))
    entry = struct.pack("<HHHIHH", 1, 0x112, 3, 1, orientation, 0)  # its only entry: orientation
    exif = b"Exif\0\0II*\0" + struct.pack("<I", 8) + entry + bytes(4)
    photo = jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]
    (picture,) = decode_bytes(photo)
    assert corner_names(converted(picture)) == upright


def test_a_turn_inside_the_h264_stream_follows_its_mirroring(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", [corners_picture()])
    with av.open(str(path)) as source, av.open(str(tmp_path / "b.mp4"), "w") as output:
        stream = source.streams.video[0]
        sei = BitStreamFilterContext(
            "h264_metadata=display_orientation=insert:rotate=90:flip=horizontal", stream
        )
        copy = output.add_stream_from_template(stream)
        for packet in source.demux(stream):
            for changed in sei.filter(packet if packet.size else None):
                changed.stream = copy
                output.mux(changed)
    (picture,) = decode(tmp_path / "b.mp4")
    # Mirrored it is GR/WB, and that turned by 90 degrees counter-clockwise:
    assert corner_names(converted(picture)) == "RB/GW"


def test_a_turn_that_is_not_square_is_said_and_the_nearest_quarter_taken(tmp_path: Path) -> None:
    # 70 degrees clockwise
    path = mp4_with_matrix(tmp_path / "a.mp4", (0.342, 0.94, 0, -0.94, 0.342, 0, 0, 0, 2**14))
    (picture,) = decode(path)
    converter = PictureConverter(picture)
    assert corner_names(converter.to_rgb(picture)) == "BR/WG"
    (note,) = converter.notes
    assert "70.0°" in note.text
    assert "by 90°" in note.text
    assert not note.loss


def test_each_picture_is_turned_by_its_own_matrix(tmp_path: Path) -> None:
    (lying,) = decode(encode(tmp_path / "a.mp4", [corners_picture()]))
    quarter = (0, 1, 0, -1, 0, 0, 0, 0, 2**14)
    (turned,) = decode(mp4_with_matrix(tmp_path / "b.mp4", quarter))
    converter = PictureConverter(lying)
    assert converter.to_rgb(turned).shape == (32, 48, 3)
    assert corner_names(converter.to_rgb(turned)) == "BR/WG"
    assert corner_names(converter.to_rgb(lying)) == "RG/BW"


def test_hdr_is_resized_and_turned_like_any_picture(tmp_path: Path) -> None:
    (turned,) = decode(mp4_with_matrix(tmp_path / "a.mp4", (0, 1, 0, -1, 0, 0, 0, 0, 2**14)))
    turned.color_trc = PQ
    converter = PictureConverter(turned)
    assert corner_names(converter.to_rgb(turned)) == "BR/WG"
    larger = drawn("yuv420p10le", (940, 512, 512), (33, 99), transfer=HLG)
    assert (converter.to_rgb(larger) == 255).all()
    assert converter.to_rgb(larger).shape == (48, 32, 3)


def bar_at(x: int, rows: int, columns: int) -> NDArray[np.bool_]:
    place = np.arange(columns) * (64 // columns)
    return np.broadcast_to((place >= x) & (place < x + 24), (rows, columns))


def bar(pixel_format: str, left_of_field: tuple[int, int]) -> av.VideoFrame:
    """A coloured bar on a dark ground whose left edge, in px, differs between the two fields."""
    picture = av.VideoFrame(64, 32, pixel_format)
    depth = picture.format.components[0].bits
    levels = [(40, 200), (110, 180), (140, 90)]
    planes = []
    for plane, (ground, shown) in zip(picture.planes, levels, strict=False):
        top, bottom = (bar_at(x, plane.height, plane.width) for x in left_of_field)
        woven = np.where(np.arange(plane.height)[:, None] % 2 == 0, top, bottom)
        planes.append(np.where(woven, shown, ground) * 2.0 ** (depth - 8))
    return drawn(pixel_format, planes, (64, 32), matrix=BT601)


def interlaced(picture: av.VideoFrame) -> av.VideoFrame:
    """The same picture with the mark of an interlaced one."""
    graph = Graph()
    source = graph.add_buffer(
        width=picture.width, height=picture.height, format=picture.format, time_base=Fraction(1, 25)
    )
    graph.link_nodes(source, graph.add("setfield", "tff"), graph.add("buffersink")).configure()
    graph.vpush(picture)
    marked = graph.vpull()
    assert marked.interlaced_frame
    return marked


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv422p10le", "yuv444p", "gbrp", "gray"])
def test_an_interlaced_picture_loses_its_combs(pixel_format: str) -> None:
    combed, wanted = bar(pixel_format, (16, 28)), bar(pixel_format, (16, 16))
    as_it_is = converted(combed)
    assert (as_it_is[::2] != as_it_is[1::2]).any()

    picture = interlaced(combed)
    converter = PictureConverter(picture)
    np.testing.assert_array_equal(converter.to_rgb(picture), converted(wanted))
    (note,) = converter.notes
    assert "deinterlaced" in note.text
    assert not note.loss


def test_combs_are_found_in_packed_pictures_too() -> None:
    combed, wanted = (
        bar("yuv422p", (16, x)).reformat(format="yuyv422", src_colorspace=6) for x in (28, 16)
    )
    rgb = converted(interlaced(combed)).astype(int)
    np.testing.assert_allclose(rgb, converted(wanted).astype(int), atol=3)


@pytest.mark.parametrize("pixel_format", ["yuv444p", "yuv444p10le"])
def test_what_stands_still_in_an_interlaced_picture_keeps_its_detail(pixel_format: str) -> None:
    step = 2 ** (av.VideoFormat(pixel_format).components[0].bits - 8)
    edges = np.repeat([30, 200, 90, 160, 240, 20, 60], 5)[:32, None].repeat(32, axis=1)
    ramp = np.linspace(20, 200, 32)[:, None].repeat(32, axis=1)
    still = drawn(pixel_format, (step * np.hstack([edges, ramp]), 128 * step, 128 * step), (64, 32))
    kept = converted(interlaced(still))[:-1]  # the last line has no neighbour below
    np.testing.assert_array_equal(kept, converted(still)[:-1])


@pytest.mark.parametrize("codec", ["mpeg2video", "libx264"])
def test_an_interlaced_video_keeps_its_frames_and_times(tmp_path: Path, codec: str) -> None:
    moving = [interlaced(bar("yuv420p", (2 * step, 2 * step + 8))) for step in range(12)]
    options = {"flags": "+ilme+ildct", "g": "12", "b": "2000000"}
    path = encode(tmp_path / "a.mkv", moving, codec, **options)
    pictures = decode(path)
    assert [picture.time for picture in pictures] == pytest.approx(
        [number / 25 for number in range(12)], abs=0.001
    )
    assert all(picture.interlaced_frame for picture in pictures)
    afterwards = [converted(picture) for picture in pictures]
    with av.open(str(path)) as container:
        container.streams.video[0].codec_context.thread_count = 1  # more decode ahead
        # Had the decoder's own pictures been changed, the ones predicted from them would differ.
        at_once = [converted(picture) for picture in container.decode(video=0)]
    np.testing.assert_array_equal(at_once, afterwards)


def test_a_progressive_video_is_not_deinterlaced(tmp_path: Path) -> None:
    combed = [bar("yuv420p", (2 * step, 2 * step + 8)) for step in range(3)]
    pictures = decode(encode(tmp_path / "a.mkv", combed))
    converter = PictureConverter(pictures[0])
    for picture in pictures:
        plain = picture.to_ndarray(format="rgb24", threads=1)  # FFmpeg's conversion, no more
        np.testing.assert_array_equal(converter.to_rgb(picture), plain)
    assert converter.notes == []


def test_a_later_picture_has_the_first_ones_size_and_its_own_format_and_tags() -> None:
    first = drawn("yuv420p", ycbcr((0.5, 0.5, 0.5), BT709, 8, LIMITED), (64, 32))
    converter = PictureConverter(first)
    converter.to_rgb(first)
    assert converter.notes == []
    for matrix, bits, pixel_format in ((BT709, 8, "yuv444p"), (BT2020, 10, "yuv420p10le")):
        codes = ycbcr(np.array((200, 60, 40)) / 255, matrix, bits, FULL)
        later = drawn(pixel_format, codes, (31, 50), matrix=matrix, colour_range=FULL)
        rgb = converter.to_rgb(later)
        assert rgb.shape == (32, 64, 3)
        np.testing.assert_allclose(rgb.reshape(-1, 3).astype(int), [(200, 60, 40)] * 2048, atol=3)
    text = "pictures of another size than the first were resized to 64x32"
    assert converter.notes == [Note(text)]


def test_rare_pixel_formats_are_read() -> None:
    palette = av.VideoFrame(33, 17, "pal8")
    palette.planes[0].update(bytes([5]) * palette.planes[0].buffer_size)
    palette.planes[1].update(struct.pack("<256I", *[0xFF0A141E] * 256))
    black_and_white = av.VideoFrame(33, 17, "monob")
    black_and_white.planes[0].update(bytes([255]) * black_and_white.planes[0].buffer_size)
    size = (33, 17)
    expected = [
        (palette, (10, 20, 30)),
        (black_and_white, (255, 255, 255)),
        (drawn("gray10le", [400], size), (100, 100, 100)),
        (drawn("gray16le", [25700], size), (100, 100, 100)),
        (drawn("gbrap", (60, 40, 200, 17), size), (200, 60, 40)),
        (drawn("rgb48le", [51400], size), (200, 200, 200)),
        (drawn("yuv410p", (128, 128, 128), size, colour_range=FULL), (128, 128, 128)),
        (drawn("ya8", [77], size), (77, 77, 77)),
        (drawn("nv12", (126, 128), size), (128, 128, 128)),
        (drawn("gbrp12le", (960, 640, 3200), size), (199, 60, 40)),
    ]
    for picture, colour in expected:
        np.testing.assert_allclose(pixel(picture).astype(int), colour, atol=2)
