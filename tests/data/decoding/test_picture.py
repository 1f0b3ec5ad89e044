"""Every format and mode against pixel values known beforehand."""

from __future__ import annotations

import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seewhy.data.decoding.picture import decode_image
from seewhy.errors import UnreadableImageError

RED, GREEN, BLUE, GREY = (200, 30, 40), (20, 180, 60), (10, 50, 220), (128, 128, 128)
# Three wide, two high, and no two turns of it alike.
PICTURE = np.array([[RED, GREEN, BLUE], [GREY, RED, RED]], dtype=np.uint8)


def blocks(side: int = 16) -> np.ndarray:
    """The picture in blocks, so that lossy formats keep the colours inside them."""
    return PICTURE.repeat(side, axis=0).repeat(side, axis=1)


def centres(image: np.ndarray, side: int = 16) -> np.ndarray:
    return image[side // 2 :: side, side // 2 :: side]


def png(width: int, height: int, bits: int, colour: int, rows: bytes) -> bytes:
    """A PNG put together by hand."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff"])
def test_lossless_formats_give_the_very_pixels(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(PICTURE).save(path)
    assert decode_image(path).tolist() == PICTURE.tolist()


def test_lossless_webp_gives_the_very_pixels(tmp_path: Path) -> None:
    Image.fromarray(PICTURE).save(tmp_path / "a.webp", lossless=True)
    assert decode_image(tmp_path / "a.webp").tolist() == PICTURE.tolist()


@pytest.mark.parametrize("suffix", ["jpg", "webp"])
def test_lossy_formats_stay_near(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(blocks()).save(path, quality=95, subsampling=0)
    image = decode_image(path)
    assert image.shape == (32, 48, 3)
    assert np.abs(centres(image).astype(int) - PICTURE).max() <= 6


def test_first_frame_of_a_gif(tmp_path: Path) -> None:
    first, second = (Image.new("RGB", (4, 3), colour) for colour in (RED, BLUE))
    first.save(tmp_path / "a.gif", save_all=True, append_images=[second])
    assert (decode_image(tmp_path / "a.gif") == RED).all()


def test_content_decides_not_the_suffix(tmp_path: Path) -> None:
    Image.fromarray(PICTURE).save(tmp_path / "a.jpg", format="PNG")
    assert decode_image(tmp_path / "a.jpg").tolist() == PICTURE.tolist()


def test_greyscale_and_one_bit(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 77, 255]], np.uint8)).save(tmp_path / "l.png")
    assert decode_image(tmp_path / "l.png").tolist() == [[[0] * 3, [77] * 3, [255] * 3]]
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "1.png")
    assert decode_image(tmp_path / "1.png").tolist() == [[[255] * 3, [0] * 3]]


def test_palette_with_and_without_transparency(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1]], np.uint8), "L").convert("P")
    image.putpalette([*RED, *BLUE])
    image.save(tmp_path / "p.png")
    assert decode_image(tmp_path / "p.png").tolist() == [[list(RED), list(BLUE)]]
    image.save(tmp_path / "t.png", transparency=0)
    assert decode_image(tmp_path / "t.png").tolist() == [[[255] * 3, list(BLUE)]]
    # One alpha a colour of the palette: 0.4 of red on white, worked out by hand.
    image.save(tmp_path / "b.png", transparency=bytes([102, 255]))
    expected = [round(0.4 * c + 0.6 * 255) for c in RED]
    assert np.abs(decode_image(tmp_path / "b.png")[0, 0].astype(int) - expected).max() <= 1


def test_alpha_is_laid_on_white(tmp_path: Path) -> None:
    pixels = np.array([[(*RED, 255), (*RED, 0), (0, 0, 0, 51)]], np.uint8)
    Image.fromarray(pixels, "RGBA").save(tmp_path / "rgba.png")
    # 51 is a fifth: black a fifth, white four fifths.
    assert decode_image(tmp_path / "rgba.png").tolist() == [[list(RED), [255] * 3, [204] * 3]]
    Image.fromarray(np.array([[[0, 51]]], np.uint8), "LA").save(tmp_path / "la.png")
    assert decode_image(tmp_path / "la.png").tolist() == [[[204] * 3]]


def test_transparent_colour_of_an_rgb_png(tmp_path: Path) -> None:
    Image.fromarray(PICTURE).save(tmp_path / "a.png", transparency=GREEN)
    assert decode_image(tmp_path / "a.png")[0].tolist() == [list(RED), [255] * 3, list(BLUE)]


def test_cmyk(tmp_path: Path) -> None:
    # No ink is white, all cyan is red's opposite, all black is black.
    inks = np.array([[(0, 0, 0, 0), (255, 0, 0, 0), (0, 0, 0, 255)]], np.uint8)
    Image.fromarray(inks, "CMYK").save(tmp_path / "a.tiff")
    assert decode_image(tmp_path / "a.tiff").tolist() == [[[255] * 3, [0, 255, 255], [0] * 3]]
    large = inks.repeat(16, axis=0).repeat(16, axis=1)
    Image.fromarray(large, "CMYK").save(tmp_path / "a.jpg", quality=95)
    found = centres(decode_image(tmp_path / "a.jpg")).astype(int)
    assert np.abs(found - [[255] * 3, [0, 255, 255], [0] * 3]).max() <= 8


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path, suffix: str) -> None:
    values = np.array([[0, 257, 257 * 100 + 128, 257 * 100 + 129, 65535]], np.uint16)
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(values).save(path)
    assert decode_image(path)[..., 0].tolist() == [[0, 1, 100, 101, 255]]


def test_sixteen_bits_a_colour(tmp_path: Path) -> None:
    rows = b"".join(b"\0" + struct.pack(">3H", 65535, 257 * 100, 0) for _ in range(2))
    (tmp_path / "a.png").write_bytes(png(1, 2, 16, 2, rows))
    assert decode_image(tmp_path / "a.png").tolist() == [[[255, 100, 0]]] * 2


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 255, 51]], np.int32), [0, 255, 51]),
        (np.array([[0, 65535, 257 * 51]], np.int32), [0, 255, 51]),
        (np.array([[-100, 100, 0]], np.int32), [0, 255, 128]),
        (np.array([[0, 1, 0.2]], np.float32), [0, 255, 51]),
        (np.array([[0, 255, 51]], np.float32), [0, 255, 51]),
        (np.array([[0, np.inf, 1e6]], np.float32), [0, 0, 255]),
        (np.array([[0, np.nan, 255]], np.float32), [0, 0, 255]),
        (np.array([[0, 0, 0]], np.float32), [0, 0, 0]),
    ],
)
def test_wide_tiffs(tmp_path: Path, values: np.ndarray, expected: list[int]) -> None:
    Image.fromarray(values).save(tmp_path / "a.tiff")
    assert decode_image(tmp_path / "a.tiff")[0, :, 1].tolist() == expected


# The stored rows a camera writes for each orientation of the upright picture, by the EXIF table:
# where the row 0 and the column 0 of what is stored are in the upright picture.
STORED = {
    1: PICTURE,  # top, left
    2: PICTURE[:, ::-1],  # top, right
    3: PICTURE[::-1, ::-1],  # bottom, right
    4: PICTURE[::-1],  # bottom, left
    5: PICTURE.transpose(1, 0, 2),  # left, top
    6: PICTURE.transpose(1, 0, 2)[::-1],  # right, top
    7: PICTURE.transpose(1, 0, 2)[::-1, ::-1],  # right, bottom
    8: PICTURE.transpose(1, 0, 2)[:, ::-1],  # left, bottom
}


@pytest.mark.parametrize("suffix", ["png", "webp", "tiff"])
@pytest.mark.parametrize("orientation", STORED)
def test_exif_orientation(tmp_path: Path, orientation: int, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{suffix}"
    options = {"lossless": True} if suffix == "webp" else {}
    Image.fromarray(np.ascontiguousarray(STORED[orientation])).save(path, exif=exif, **options)
    assert decode_image(path).tolist() == PICTURE.tolist()


@pytest.mark.parametrize("at_least", [None, 1])
def test_exif_orientation_of_a_jpeg(tmp_path: Path, at_least: int | None) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = STORED[6].repeat(16, axis=0).repeat(16, axis=1)
    Image.fromarray(stored).save(tmp_path / "a.jpg", exif=exif, quality=95, subsampling=0)
    side = 16 if at_least is None else 2
    found = decode_image(tmp_path / "a.jpg", at_least=at_least)
    assert found.shape == (2 * side, 3 * side, 3)
    assert np.abs(centres(found, side).astype(int) - PICTURE).max() <= 6


def test_damaged_exif_leaves_the_pixels(tmp_path: Path) -> None:
    Image.fromarray(blocks()).save(
        tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff", quality=95, subsampling=0
    )
    found = decode_image(tmp_path / "a.jpg")
    assert np.abs(centres(found).astype(int) - PICTURE).max() <= 6


def test_exif_that_cannot_be_read_leaves_the_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def getexif(image: Image.Image) -> Image.Exif:
        raise struct.error("unpack requires a buffer of 12 bytes")

    Image.fromarray(PICTURE).save(tmp_path / "a.png")
    monkeypatch.setattr(Image.Image, "getexif", getexif)
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.getexif", getexif)
    assert decode_image(tmp_path / "a.png").tolist() == PICTURE.tolist()


@pytest.mark.parametrize(("side", "expected"), [(800, 100), (799, 200), (200, 800), (5000, 800)])
def test_large_jpegs_come_smaller_but_large_enough(
    tmp_path: Path, side: int, expected: int
) -> None:
    # Eighths of 800 are 100; asked for at_least, twice that has to remain.
    Image.new("RGB", (800, 800), RED).save(tmp_path / "a.jpg")
    at_least = {800: 50, 799: 51, 200: 250, 5000: 5000}[side]
    found = decode_image(tmp_path / "a.jpg", at_least=at_least)
    assert found.shape == (expected, expected, 3)


@pytest.mark.parametrize(("width", "height"), [(60000, 60000), (12000, 12000), (10001, 10000)])
def test_a_bomb_is_refused_by_its_header(tmp_path: Path, width: int, height: int) -> None:
    # Beyond Pillow's error, its warning and our limit; warnings are errors in this suite.
    (tmp_path / "a.png").write_bytes(png(width, height, 8, 2, b""))
    before = Image.MAX_IMAGE_PIXELS
    with pytest.raises(UnreadableImageError, match="more than 100 megapixels") as caught:
        decode_image(tmp_path / "a.png", max_megapixels=100)
    assert str(tmp_path / "a.png") in str(caught.value)
    assert str(tmp_path) not in caught.value.reason
    assert before == Image.MAX_IMAGE_PIXELS


def test_the_limit_is_ours_in_both_directions(tmp_path: Path) -> None:
    Image.new("1", (12000, 10000)).save(tmp_path / "a.png")  # 120 megapixels: Pillow would warn.
    with pytest.raises(UnreadableImageError, match="12000×10000 pixels, more than 119"):
        decode_image(tmp_path / "a.png", max_megapixels=119)
    Image.new("L", (10, 10)).save(tmp_path / "b.png")
    assert decode_image(tmp_path / "b.png", max_megapixels=1e-4).shape == (10, 10, 3)
    with pytest.raises(UnreadableImageError, match="10×10"):
        decode_image(tmp_path / "b.png", max_megapixels=0.99e-4)


def test_pillows_own_limit_comes_back_from_threads(tmp_path: Path) -> None:
    (tmp_path / "bomb.png").write_bytes(png(60000, 60000, 8, 2, b""))
    Image.fromarray(blocks()).save(tmp_path / "good.png")
    limit, filters = Image.MAX_IMAGE_PIXELS, list(warnings.filters)

    def work(index: int) -> bool:
        try:
            return decode_image(tmp_path / ("bomb.png" if index % 2 else "good.png")).any()
        except UnreadableImageError:
            return False

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(40))) == [True, False] * 20
    assert limit == Image.MAX_IMAGE_PIXELS
    assert filters == list(warnings.filters)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "gif", "bmp", "tiff"])
def test_a_truncated_image_is_named(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UnreadableImageError, match=r"cannot be decoded|is no JPEG"):
        decode_image(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is an empty file"),
        (b"hello", "is no JPEG, PNG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is no JPEG, PNG"),
        (png(5, 5, 8, 2, b"").replace(b"\x0dIHDR", b"\x0aIHDR"), "cannot be decoded .Truncated IH"),
        (png(0, 5, 8, 2, b""), "has no pixels|cannot be decoded|is no JPEG"),
    ],
)
def test_what_is_no_image_is_named(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(UnreadableImageError, match=reason):
        decode_image(tmp_path / "a.png")


def test_damage_anywhere_never_ends_in_another_error(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for suffix in ("jpg", "png", "webp", "gif", "bmp", "tiff"):
        path = tmp_path / f"a.{suffix}"
        Image.fromarray(blocks(4)).save(path)
        whole = np.frombuffer(path.read_bytes(), np.uint8)
        for _ in range(40):
            damaged = whole.copy()
            places = rng.integers(0, min(len(whole), 300), 4)
            damaged[places] = rng.integers(0, 256, 4)
            path.write_bytes(damaged.tobytes())
            try:
                image = decode_image(path, max_megapixels=1)
            except UnreadableImageError as error:
                assert error.reason
            else:
                assert image.dtype == np.uint8
                assert image.ndim == 3


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    for name in ("none.png", "."):
        with pytest.raises(UnreadableImageError, match="cannot be decoded"):
            decode_image(tmp_path / name)
