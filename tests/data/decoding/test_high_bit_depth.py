"""Pictures of more than 8 bits a value, and formats beside the old ones, against known values."""

from __future__ import annotations

import builtins
import io
import logging
import os
import struct
import sys
import tempfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from seewhy.config import load_config
from seewhy.data.decoding.picture import decode_image, is_deep, measure_image
from seewhy.data.decoding.value_levels import ValueRange
from seewhy.data.prepare import prepare_data
from seewhy.data.sources.picture_suffixes import is_picture
from seewhy.errors import DataError, UnreadableImageError
from seewhy.runtime.progress import Silent
from seewhy.storage.run_directory import RunDirectory
from seewhy.storage.schemas.levels import Levels, ValueLevel

COLOURS = np.array([[(200, 30, 40), (20, 180, 60)], [(128, 128, 128), (10, 50, 220)]], np.uint8)
BLOCKS = COLOURS.repeat(32, axis=0).repeat(32, axis=1)


def grey(path: Path, values: Any, dtype: Any = np.uint16) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array(values, dtype)).save(path)
    return path


def png(width: int, height: int, colour: int, rows: bytes, extra: bytes = b"") -> bytes:
    """A PNG of 16 bits a channel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0))
    key = chunk(b"tRNS", extra) if extra else b""
    body = key + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + body


def first(image: np.ndarray) -> list[int]:
    """The first row of a picture, its first colour."""
    return image[0, :, 0].tolist()


@pytest.mark.parametrize("suffix", ["png", "tiff", "jp2"])
def test_levels_decide_not_the_picture(tmp_path: Path, suffix: str) -> None:
    path = grey(tmp_path / f"a.{suffix}", [[0, 819, 4095, 8000]] * 4)
    assert is_deep(path)
    assert measure_image(path) == ValueRange("16-bit", 0, 8000)
    assert first(decode_image(path, levels=Levels((ValueLevel("16-bit", 0, 4095),)))) == [
        0,
        51,
        255,
        255,
    ]
    assert first(decode_image(path, levels=Levels((ValueLevel("16-bit", 819, 4095),))))[:3] == [
        0,
        0,
        255,
    ]
    # By itself: the smallest usual white above 8000 is 16383.
    assert first(decode_image(path)) == [0, 13, 64, 125]


def test_floats_negative_values_and_what_is_no_number(tmp_path: Path) -> None:
    path = grey(tmp_path / "a.tif", [[-1, 0, 1, np.nan, np.inf]], np.float32)
    assert measure_image(path) == ValueRange("float", -1, 1, odd=True)
    level = Levels((ValueLevel("float", -1, 1),))
    assert first(decode_image(path, levels=level)) == [0, 128, 255, 0, 0]
    nothing = grey(tmp_path / "b.tif", [[np.nan, np.inf]], np.float32)
    assert measure_image(nothing) is None
    for levels in (Levels(), level):
        with pytest.raises(UnreadableImageError, match="holds no finite value"):
            decode_image(nothing, levels=levels)
    # The widest floats there are still have an order.
    wide = grey(tmp_path / "c.tif", [[-3e38, 0, 3e38]], np.float32)
    assert first(decode_image(wide)) == [0, 128, 255]


def test_unsigned_32_bits_do_not_become_negative(tmp_path: Path) -> None:
    path = grey(tmp_path / "a.tif", [[0, -(2**31), -1]], np.int32)
    # The same bits without a sign: what tag 339, SampleFormat, makes of them.
    signed, plain = (struct.pack("<HHII", 339, 3, 1, form) for form in (2, 1))
    assert path.read_bytes().count(signed) == 1
    path.write_bytes(path.read_bytes().replace(signed, plain))
    assert measure_image(path) == ValueRange("integer", 0, 2**32 - 1)
    assert first(decode_image(path)) == [0, 128, 255]


def test_white_is_zero(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 4095]], np.uint16))
    image.save(tmp_path / "a.tif", tiffinfo={262: 0})
    with Image.open(tmp_path / "a.tif") as opened:
        assert opened.tag_v2[262] == 0
    assert first(decode_image(tmp_path / "a.tif")) == [255, 0]


def test_alpha_of_sixteen_bits(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    # Grey and alpha: 12-bit grey, opaque and transparent.
    path.write_bytes(png(2, 1, 4, b"\0" + struct.pack(">4H", 4095, 65535, 4095, 0)))
    assert measure_image(path) == ValueRange("16-bit", 0, 15 * 257, coarse=True)
    assert first(decode_image(path)) == [255, 255]
    # A transparent grey value, and a transparent colour, given in 16 bits.
    path.write_bytes(png(3, 1, 0, b"\0" + struct.pack(">3H", 4095, 300, 0), struct.pack(">H", 300)))
    assert first(decode_image(path)) == [255, 255, 0]
    rows = b"\0" + struct.pack(">6H", 65535, 25700, 0, 1000, 2000, 3000)
    path.write_bytes(png(2, 1, 2, rows, struct.pack(">3H", 1000, 2000, 3000)))
    assert decode_image(path).tolist() == [[[255, 100, 0], [255, 255, 255]]]


def test_twelve_bit_colours_are_not_nearly_black(tmp_path: Path) -> None:
    rows = b"\0" + struct.pack(">6H", 4095, 0, 0, 0, 4095, 2048)
    (tmp_path / "a.png").write_bytes(png(2, 1, 2, rows))
    assert decode_image(tmp_path / "a.png").tolist() == [[[255, 0, 0], [0, 255, 136]]]


def study(root: Path, run: Path, *settings: str) -> tuple[list[int], Any]:
    """Prepare a folder; return the brightness of each image, by path, and what the checks say."""
    config = load_config(root, settings=settings)
    data = prepare_data(config, 32, RunDirectory(run), Silent())
    order = np.argsort(data.paths)
    return [int(data.pixels[k].mean().round()) for k in order], RunDirectory(run).data.read_checks()


def flat(root: Path, name: str, values: list[float], dtype: Any, suffix: str = "tif") -> None:
    for number, value in enumerate(values):
        grey(root / name / f"{number}.{suffix}", np.full((32, 32), value), dtype)


@pytest.mark.parametrize(
    ("dtype", "suffix", "low", "high", "white", "expected"),
    [
        # Every file's own white would be 1, or the value itself: all of them white.
        (np.float32, "tif", 1.0, 255.0, 255, (1, 255)),
        (np.uint16, "png", 819, 4095, 4095, (51, 255)),
        (np.int32, "tif", 255, 1275, 4095, (16, 79)),
    ],
)
def test_one_decision_for_a_data_set(
    tmp_path: Path,
    dtype: Any,
    suffix: str,
    low: float,
    high: float,
    white: float,
    expected: tuple[int, int],
) -> None:
    # The bright ones are test images alone, yet decide over the others too.
    for part, value in (("train", low), ("test", high)):
        for name in ("a", "b"):
            flat(tmp_path / "d" / part, name, [value] * 6, dtype, suffix)
    means, checks = study(tmp_path / "d", tmp_path / "run")
    assert means == [expected[1]] * 12 + [expected[0]] * 12
    assert checks.levels[0].white == white
    # How the folder was read, what was decided, and that such classes may be letters.
    read, decided, _ = checks.findings.notes
    assert read.startswith("Split folders: ")
    assert f"as black and {white:,} as white in all of them" in decided
    assert RunDirectory(tmp_path / "run").data.read().levels == Levels(tuple(checks.levels))


def test_white_can_be_set(tmp_path: Path) -> None:
    for name in ("a", "b"):
        flat(tmp_path / "d", name, [1000] * 8, np.uint16, "png")
    means, checks = study(tmp_path / "d", tmp_path / "run", "data.white=2000", "data.black=500")
    assert means == [85] * 16  # (1000 − 500) / 1500
    assert (checks.levels[0].black, checks.levels[0].white) == (500, 2000)
    flat(tmp_path / "d", "b", [0.5] * 8, np.float32)
    with pytest.raises(DataError, match="which have no white in common"):
        study(tmp_path / "d", tmp_path / "run2", "data.white=2000")
    assert not (tmp_path / "run2" / "data").exists()


@pytest.mark.parametrize(
    ("dtype", "top", "expected"),
    [
        ("f8", 1.0, (51, 255)),
        ("f4", 255.0, (51, 255)),
        ("u2", 4095, (51, 255)),
        ("i8", 255, (51, 255)),
    ],
)
def test_arrays_of_other_values(
    tmp_path: Path, dtype: str, top: float, expected: tuple[int, int]
) -> None:
    labels = np.array([0, 1] * 6)
    for name, value in (("train", top / 5), ("test", top)):
        images = np.full((12, 32, 32, 3), value).astype(dtype)
        np.savez(tmp_path / f"{name}.npz", images=images, labels=labels)
    config = load_config(tmp_path / "train.npz", test=tmp_path / "test.npz")
    data = prepare_data(config, 32, RunDirectory(tmp_path / "run"), Silent())
    for part, mean in zip(("train", "test"), expected, strict=True):
        assert (data.pixels[data.where(part)] == mean).all()  # type: ignore[arg-type]


@pytest.mark.parametrize("suffix", ["avif", "heic"])
def test_avif_and_heic(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    save(path, BLOCKS)
    found = decode_image(path)
    assert found.shape == BLOCKS.shape
    assert np.abs(found[16::32, 16::32].astype(int) - COLOURS).max() <= 4
    assert not is_deep(path)
    # Turned as a telephone stores it.
    exif = Image.Exif()
    exif[0x0112] = 6
    save(path, np.ascontiguousarray(BLOCKS.transpose(1, 0, 2)[::-1]), exif=exif.tobytes())
    assert np.abs(decode_image(path)[16::32, 16::32].astype(int) - COLOURS).max() <= 4
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UnreadableImageError):
        decode_image(path)


def save(path: Path, pixels: np.ndarray, **options: Any) -> None:
    image = Image.fromarray(pixels)
    if path.suffix == ".avif":
        image.save(path, quality=95, **options)
        return
    heif = pytest.importorskip("pillow_heif", reason="the package that reads HEIC is not there")
    before = dict(Image.SAVE)
    try:
        heif.register_heif_opener()
        image.save(path, format="HEIF", quality=95, **options)
    finally:
        # Pillow's tables are as they were: what reads HEIC here is not registered with it.
        Image.OPEN.pop("HEIF", None)
        Image.ID[:] = [name for name in Image.ID if name != "HEIF"]
        Image.SAVE.clear()
        Image.SAVE.update(before)


def test_heic_without_its_package_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.jpg").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40))
    real = builtins.__import__

    def without(name: str, *arguments: Any) -> Any:
        if name == "pillow_heif":
            raise ImportError(name)
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UnreadableImageError, match=r"is a HEIC picture, .*seewhy\[heic\]"):
        decode_image(tmp_path / "a.jpg")
    # Without a suffix it is a picture too, to be set aside with that sentence.
    assert is_picture((tmp_path / "a.jpg").rename(tmp_path / "a"))


def test_formats_without_a_mark_go_by_their_suffix(tmp_path: Path) -> None:
    Image.fromarray(COLOURS).save(tmp_path / "a.tga")
    assert decode_image(tmp_path / "a.tga").tolist() == COLOURS.tolist()
    (tmp_path / "a.tga").rename(tmp_path / "a.png")
    with pytest.raises(UnreadableImageError, match="is no JPEG, PNG"):
        decode_image(tmp_path / "a.png")


def test_images_of_pillows_are_read_too() -> None:
    assert decode_image(Image.fromarray(COLOURS)).tolist() == COLOURS.tolist()
    with pytest.raises(UnreadableImageError, match="2×2 pixels, more than 1e-06 megapixels"):
        decode_image(Image.fromarray(COLOURS), max_megapixels=1e-6)


def test_libtiff_says_nothing(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    stream = io.BytesIO()
    Image.fromarray(BLOCKS).save(stream, "TIFF", compression="tiff_lzw")
    content = bytearray(stream.getvalue())
    content[200:260] = bytes(range(60))
    (tmp_path / "a.tif").write_bytes(content)
    heard = _heard(lambda: _try(tmp_path / "a.tif"))
    assert heard == b""
    # It would have had something to say; and says it again to others afterwards.
    with pytest.raises(OSError, match="decoder error"):
        Image.open(tmp_path / "a.tif").load()
    assert _heard(lambda: _plain(tmp_path / "a.tif")) != b""
    assert not recwarn.list


def _try(path: Path) -> None:
    with pytest.raises(UnreadableImageError):
        decode_image(path)


def _plain(path: Path) -> None:
    with pytest.raises(OSError, match="decoder error"), Image.open(path) as image:
        image.load()


def _heard(work: Any) -> bytes:
    """Return what is written to the process's standard error meanwhile, by C libraries too."""
    with tempfile.TemporaryFile() as stream:
        sys.stderr.flush()
        kept = os.dup(2)
        os.dup2(stream.fileno(), 2)
        try:
            work()
        finally:
            os.dup2(kept, 2)
            os.close(kept)
        stream.seek(0)
        return stream.read()


def test_pillows_log_stays_off_standard_error(tmp_path: Path) -> None:
    Image.fromarray(COLOURS).save(tmp_path / "a.tif")
    decode_image(tmp_path / "a.tif")
    handlers = logging.getLogger("PIL").handlers
    assert sum(isinstance(handler, logging.NullHandler) for handler in handlers) == 1


def test_a_reason_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.heic"
    save(path, BLOCKS)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UnreadableImageError, match="cannot be decoded") as caught:
        decode_image(path)
    assert "\n" not in str(caught.value)
