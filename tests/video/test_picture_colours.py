"""Expected colours come from the formulas of ITU-R BT.601, 709, 2020, 2100 and ITU-T H.273."""

from collections.abc import Sequence

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.decoded_pictures import (
    BT601,
    BT709,
    BT2020,
    FULL,
    HLG,
    KR_KB,
    LIMITED,
    PQ,
    drawn,
    pixel,
    ycbcr,
)
from tubedet.video.picture import PictureConverter

COLOURS = [
    *((255, 255, 255), (0, 0, 0), (128, 128, 128), (200, 60, 40), (40, 200, 40), (30, 60, 220)),
    *((255, 0, 0), (0, 255, 0), (0, 0, 255), (250, 230, 10), (90, 10, 110)),
]


def rgb_of_codes(
    codes: Sequence[NDArray[np.float64]], matrix: int, bits: int, colour_range: int
) -> NDArray[np.float64]:
    """The inverse of `ycbcr`, of rounded code values."""
    luma, cb, cr = (np.rint(plane) for plane in codes)
    kr, kb = KR_KB[matrix]
    if colour_range == FULL:
        luma, cb, cr = (
            luma / (2**bits - 1),
            *((c - 2 ** (bits - 1)) / (2**bits - 1) for c in (cb, cr)),
        )
    else:
        step = 2 ** (bits - 8)
        luma, cb, cr = (luma / step - 16) / 219, *((c / step - 128) / 224 for c in (cb, cr))
    red, blue = luma + (2 - 2 * kr) * cr, luma + (2 - 2 * kb) * cb
    return np.stack([red, (luma - kr * red - kb * blue) / (1 - kr - kb), blue], axis=-1)


def rgb_to_xyz(primaries_xy: Sequence[tuple[float, float]]) -> NDArray[np.float64]:
    """The matrix of a display with white D65, from its primaries' chromaticities."""
    columns = np.array([(x / y, 1, (1 - x - y) / y) for x, y in primaries_xy]).T
    white = np.array([0.3127 / 0.3290, 1, (1 - 0.3127 - 0.3290) / 0.3290])
    return np.asarray(columns * np.linalg.solve(columns, white))


XYZ_OF_2020 = rgb_to_xyz([(0.708, 0.292), (0.170, 0.797), (0.131, 0.046)])
XYZ_OF_709 = rgb_to_xyz([(0.64, 0.33), (0.30, 0.60), (0.15, 0.06)])


def light_of_pq(code: NDArray[np.float64]) -> NDArray[np.float64]:
    """Display light (..., 3) in cd/m² of PQ code values in 0..1. Source: SMPTE ST 2084."""
    root = code ** (32 / 2523)
    ratio = np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)
    return np.asarray(10_000 * ratio ** (16384 / 2610))


def light_of_hlg(code: NDArray[np.float64]) -> NDArray[np.float64]:
    """Display light (..., 3) in cd/m² on a display of 1000 cd/m². Source: ITU-R BT.2100."""
    a = 0.17883277
    b, c = 1 - 4 * a, 0.5 - a * np.log(4 * a)
    scene = np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12)
    luminance = scene @ [0.2627, 0.6780, 0.0593]
    return np.asarray(1000 * luminance[..., None] ** 0.2 * scene)


def sdr_of(code: NDArray[np.float64], transfer: int) -> NDArray[np.float64]:
    """What BT.2020 code values (..., 3) in 0..1 are to look like: 0..255, not rounded."""
    light = (light_of_pq if transfer == PQ else light_of_hlg)(np.clip(code, 0, 1)) / 203
    linear = light @ (np.linalg.inv(XYZ_OF_709) @ XYZ_OF_2020).T
    return np.asarray(255 * np.clip(linear, 0, 1) ** (1 / 2.4))


def code_of_709(linear: NDArray[np.float64], transfer: int) -> NDArray[np.float64]:
    """The code values (..., 3) of BT.709 colours that are as bright as reference white."""
    light = 203 * linear @ (np.linalg.inv(XYZ_OF_2020) @ XYZ_OF_709).T
    if transfer == PQ:
        power = (np.maximum(light, 0) / 10_000) ** (2610 / 16384)
        return np.asarray(((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** (2523 / 32))
    luminance = np.maximum(light @ [0.2627, 0.6780, 0.0593], 1e-9) / 1000
    scene = np.maximum(light, 0) / 1000 * luminance[..., None] ** (1 / 1.2 - 1)
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    above = a * np.log(np.maximum(12 * scene - b, 1e-9)) + c
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), above)


@pytest.mark.parametrize("colour_range", [LIMITED, FULL])
@pytest.mark.parametrize("matrix", KR_KB)
@pytest.mark.parametrize(
    "pixel_format",
    ["yuv420p", "yuv422p", "yuv444p", "yuva420p", "yuv420p10le", "yuv422p10le", "yuv444p10le"],
)
def test_tagged_colours_come_back_within_3_levels(
    pixel_format: str, matrix: int, colour_range: int
) -> None:
    bits = av.VideoFormat(pixel_format).components[0].bits
    for colour in COLOURS:
        codes = ycbcr(np.array(colour) / 255, matrix, bits, colour_range)
        for size in ((32, 16), (33, 17), (1280, 20)):
            picture = drawn(
                pixel_format, [*codes, 255], size, matrix=matrix, colour_range=colour_range
            )
            np.testing.assert_allclose(pixel(picture).astype(int), colour, atol=3)


@pytest.mark.parametrize(
    ("size", "matrix"),
    [
        *(((1280, 720), BT709), ((1920, 1080), BT709), ((1280, 544), BT709), ((960, 720), BT709)),
        *(((720, 1280), BT709), ((720, 576), BT601), ((720, 480), BT601), ((1278, 718), BT601)),
    ],
)
def test_untagged_video_is_bt709_from_720_lines_or_1280_columns_on_and_bt601_below(
    size: tuple[int, int], matrix: int
) -> None:
    codes = ycbcr(np.array((200, 60, 40)) / 255, matrix, 8, LIMITED)
    np.testing.assert_allclose(
        pixel(drawn("yuv420p", codes, size)).astype(int), (200, 60, 40), atol=3
    )


@pytest.mark.parametrize("matrix", [0, 1, 2, 3, 6, 8, 9, 14, 20])
def test_rgb_and_gray_keep_their_values_whatever_the_tags_say(matrix: int) -> None:
    for colour_range in (0, LIMITED, FULL):
        rgb, gray = drawn("gbrp", (60, 40, 200)), drawn("gray", [77])
        for picture in (rgb, gray):
            picture.colorspace, picture.color_range = matrix, colour_range
        converter = PictureConverter(rgb)
        assert (converter.to_rgb(rgb) == (200, 60, 40)).all()
        assert (converter.to_rgb(gray) == 77).all()
        assert converter.notes == []


@pytest.mark.parametrize("matrix", [3, 8, 10, 14, 99])
def test_a_matrix_that_cannot_be_read_is_said_and_taken_as_if_untagged(matrix: int) -> None:
    codes = ycbcr(np.array((200, 60, 40)) / 255, BT709, 8, LIMITED)
    picture = drawn("yuv444p", codes, (1280, 720), matrix=matrix)
    converter = PictureConverter(picture)
    for _ in range(2):
        np.testing.assert_allclose(converter.to_rgb(picture)[9, 9], (200, 60, 40), atol=3)
    (note,) = converter.notes
    assert f"number {matrix} " in note.text
    assert note.loss


@pytest.mark.parametrize("colour_range", [LIMITED, FULL])
@pytest.mark.parametrize("pixel_format", ["yuv420p10le", "yuv444p10le", "gbrp10le", "gbrp"])
@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_hdr_is_within_2_levels_of_the_reference_formula(
    transfer: int, pixel_format: str, colour_range: int
) -> None:
    random = np.random.default_rng(0)
    code = random.random((32, 32, 3)) * (0.75 if transfer == PQ else 1)
    code[0] = np.linspace(0, 1, 32)[:, None]  # greys, to far above white
    code[1:4] *= np.linspace(0, 1, 32)[:, None]  # dark ones
    code[4:7, :, 0] = 0  # saturated ones
    code[7:10, :, 1:] = 0
    code[10:12] = code_of_709(random.integers(0, 2, (2, 32, 3)).astype(np.float64), transfer)
    code = code.repeat(8, axis=0).repeat(8, axis=1)
    bits = av.VideoFormat(pixel_format).components[0].bits
    if pixel_format.startswith("gbrp"):
        planes = [code[..., channel] * (2**bits - 1) for channel in (1, 2, 0)]
        exact = np.rint(code * (2**bits - 1)) / (2**bits - 1)
    else:
        planes = ycbcr(code, BT2020, bits, colour_range)
        exact = rgb_of_codes(planes, BT2020, bits, colour_range)
        if "420" in pixel_format:
            planes = [planes[0], planes[1][::2, ::2], planes[2][::2, ::2]]
    picture = drawn(
        pixel_format,
        planes,
        (256, 256),
        matrix=BT2020,
        colour_range=colour_range,
        transfer=transfer,
        primaries=9,
    )
    converter = PictureConverter(picture)
    off = np.abs(converter.to_rgb(picture) - sdr_of(exact, transfer))[4::8, 4::8]
    assert off.max() <= 2
    (note,) = converter.notes
    assert "PQ" in note.text if transfer == PQ else "HLG" in note.text
    assert not note.loss


def test_hdr_colours_of_a_white_page_and_of_bt709_come_back() -> None:
    """By hand: 203 cd/m2 is code 0.5807 of PQ and 0.75 of HLG, 10 cd/m2 is 0.30 of PQ."""
    for code, transfer, gray in ((0.5807, PQ, 255), (0.75, HLG, 255), (0.7, PQ, 255), (0, PQ, 0)):
        planes = ycbcr((code, code, code), BT2020, 10, LIMITED)
        shown = pixel(drawn("yuv420p10le", planes, transfer=transfer, primaries=9))
        np.testing.assert_allclose(shown.astype(int), gray, atol=1)
    red = code_of_709(np.array((1.0, 0, 0)), PQ)
    planes = ycbcr(red, BT2020, 16, FULL)
    picture = drawn("yuv444p16le", planes, colour_range=FULL, transfer=PQ, primaries=9)
    shown = pixel(picture).astype(int)
    np.testing.assert_allclose(shown, (255, 0, 0), atol=8)


def test_hdr_with_bt709_primaries_keeps_them() -> None:
    """By hand: code 0.3 of PQ is 10.04 cd/m2, 0.4 is 32.5, and 255 (10.04 / 203)^(1/2.4) = 73."""
    picture = drawn("gbrp10le", (0.3 * 1023, 0, 0.4 * 1023), transfer=PQ, primaries=1)
    np.testing.assert_allclose(pixel(picture).astype(int), (119, 73, 0), atol=1)
