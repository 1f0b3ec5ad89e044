"""Damaged pictures of every format Pillow writes: pixels or one sentence, quickly and quietly.

``make soak`` tries 10,000 of them, ``make test`` a few.
"""

from __future__ import annotations

import io
import os
import random
import resource
import struct
import subprocess
import sys
import tempfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seewhy.data.decoding.formats import quietly
from seewhy.data.decoding.picture import decode_image, is_deep, measure_image
from seewhy.data.decoding.value_levels import choose_level
from seewhy.errors import UnreadableImageError
from seewhy.storage.schemas.levels import Levels

Mutate = Callable[[bytes, random.Random], bytes]
Within = Callable[[float], AbstractContextManager[None]]
MOST = 1.0  # megapixels
SECONDS = 10.0


def seeds() -> list[tuple[str, bytes]]:
    """One small whole file of every format, mode and compression that can be written."""
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, (24, 33), dtype=np.uint8)
    rgb = Image.fromarray(rng.integers(0, 256, (24, 33, 3), dtype=np.uint8))
    images = {
        **{mode: rgb.convert(mode) for mode in ("RGB", "L", "1", "P", "LA", "RGBA", "CMYK")},
        "I;16": Image.fromarray(grey.astype(np.uint16) * 16),
        "I": Image.fromarray(grey.astype(np.int32) * 300 - 5000),
        "F": Image.fromarray(grey.astype(np.float32) / 200),
    }
    Image.init()
    found = []
    for name in sorted(Image.SAVE):
        for mode, image in images.items():
            found += _written(f"{name} {mode}", image, name)
    for compression in ("tiff_lzw", "tiff_deflate", "packbits", "jpeg"):
        found += _written(f"TIFF {compression}", rgb, "TIFF", compression=compression)
    found += _written("GIF animated", rgb, "GIF", save_all=True, append_images=[rgb.rotate(90)])
    found += _written("JPEG progressive", rgb, "JPEG", progressive=True)
    found += _written("WEBP lossless", rgb, "WEBP", lossless=True)
    return found + _heic(rgb) + _deep_png()


def _written(
    name: str, image: Image.Image, form: str, **options: object
) -> list[tuple[str, bytes]]:
    stream = io.BytesIO()
    try:
        image.save(stream, form, **options)
    except Exception:  # this format has no such mode
        return []
    return [(name, stream.getvalue())]


def _heic(image: Image.Image) -> list[tuple[str, bytes]]:
    heif = pytest.importorskip("pillow_heif", reason="the package that reads HEIC is not there")
    stream = io.BytesIO()
    heif.from_pillow(image).save(stream, quality=80)
    return [("HEIC RGB", stream.getvalue())]


def _deep_png() -> list[tuple[str, bytes]]:
    rows = b"".join(b"\0" + struct.pack(">6H", *range(0, 4096, 700)) for _ in range(4))
    return [("PNG RGB;16", _png(2, 4, 16, 2, rows))]


def _png(width: int, height: int, bits: int, colour: int, rows: bytes) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def bombs() -> list[tuple[str, bytes]]:
    """Files that claim to be large, and one that is."""
    zeros, most = bytes(30_001) * 3, 2**31 - 1
    bmp = (0, 0, 0, 54, 40, most, most, 1, 24, *[0] * 6)
    return [
        ("PNG bomb", _png(30_000, 30_000, 8, 0, zeros)),
        ("PNG claim", _png(2**31 - 1, 2**31 - 1, 8, 6, b"")),
        ("GIF claim", b"GIF89a" + struct.pack("<HH", 65535, 65535) + b"\x80\0\0" + bytes(20)),
        ("BMP claim", b"BM" + struct.pack("<IHHIIiiHHIIiiII", *bmp)),
        ("PPM claim", b"P6\n2000000000 2000000000\n255\n" + bytes(10)),
        ("PPM deep", b"P5\n999 999\n65535\n" + bytes(10)),
        ("QOI claim", b"qoif" + struct.pack(">IIBB", 2**31, 2**31, 4, 0)),
    ]


@contextmanager
def silent() -> Iterator[None]:
    """Fail where anything, a C library too, writes to standard error or output."""
    with tempfile.TemporaryFile() as heard:
        kept = os.dup(1), os.dup(2)
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(heard.fileno(), 1)
        os.dup2(heard.fileno(), 2)
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, old in zip((1, 2), kept, strict=True):
                os.dup2(old, number)
                os.close(old)
        heard.seek(0)
        said = heard.read(2000)
        assert said == b"", said


def check(path: Path, within: Within) -> str:
    """Decode one file in both ways that a study does; tell what came of it."""
    with within(SECONDS):
        try:
            span = measure_image(path, MOST) if is_deep(path) else None
            levels = Levels()
            if span is not None:
                assert np.isfinite([span.low, span.high]).all()
                assert span.low <= span.high
                levels = Levels((choose_level(span.kind, span.low, span.high),))
            image = decode_image(path, MOST, levels=levels)
        except UnreadableImageError as error:
            assert error.reason
            assert "\n" not in str(error)
            return "refused"
        assert image.dtype == np.uint8
        assert image.ndim == 3
        assert image.shape[2] == 3
        assert 0 < image.shape[0] * image.shape[1] <= MOST * 1e6
        # Judged by itself it is the same: its values are all that there are.
        assert np.array_equal(decode_image(path, MOST), image)
        _check_meaning(path, image)
    return "read"


def _check_meaning(path: Path, image: np.ndarray) -> None:
    """Hold what has 8 bits, no alpha and no turn against Pillow's own pixels."""
    try:
        # Pillow alone lets libtiff print.
        with quietly(MOST), Image.open(path) as opened:
            plain = opened.mode in ("RGB", "L") and "transparency" not in opened.info
            deep = ";16" in str(opened.tile)
            if not plain or deep or opened.getexif().get(0x0112, 1) != 1:
                return
            expected = np.asarray(opened.convert("RGB"))
    except Exception:  # a format that only we read, or Pillow's complaint over metadata
        return
    assert np.array_equal(expected, image)


def fuzz(folder: Path, count: int, seed: int, mutate: Mutate, within: Within) -> Counter[str]:
    """Try `count` damaged files of all formats; count what came of them."""
    rng, whole = random.Random(seed), seeds()
    found: Counter[str] = Counter()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with silent():
        for number, (name, content) in enumerate([*whole, *bombs()]):
            path = folder / f"whole-{number}.{name.split()[0].lower()}"
            path.write_bytes(content)
            found[f"whole {check(path, within)}"] += 1
        for number in range(count):
            name, content = whole[number % len(whole)]
            suffix = rng.choice((name.split()[0].lower(), "png", "tga", "jpg"))
            path = folder / f"fuzzed.{suffix}"
            path.write_bytes(mutate(content, rng))
            try:
                found[check(path, within)] += 1
            except BaseException as error:
                kept = Path(tempfile.gettempdir()) / f"seewhy-fuzz-{seed}-{number}.{suffix}"
                kept.write_bytes(path.read_bytes())
                raise AssertionError(f"{name}, case {number}, kept as {kept}") from error
    # KiB; what a header claims is never allocated.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1_000_000
    return found


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")
def test_damaged_pictures_are_pixels_or_one_sentence(
    tmp_path: Path, mutate: Mutate, within: Within
) -> None:
    found = fuzz(tmp_path, 600, 1, mutate, within)
    assert found["read"] > 50
    assert found["refused"] > 50


@pytest.mark.soak
@pytest.mark.filterwarnings("ignore")
def test_ten_thousand_damaged_pictures(
    tmp_path: Path,
    mutate: Mutate,
    within: Within,
    seewhy: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    found = fuzz(tmp_path, 10_000, 0, mutate, within)
    sys.stdout.write(f"pictures: {dict(found)}\n")
    # A sample of them through the real command line.
    rng, whole = random.Random(2), seeds()
    for number in range(200):
        name, content = whole[number % len(whole)]
        place = tmp_path / "pictures" / ("cat", "dog")[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        damaged = content if number % 4 == 0 else mutate(content, rng)
        (place / f"{number}.{rng.choice(('png', name.split()[0].lower()))}").write_bytes(damaged)
    done = seewhy("check", tmp_path / "pictures", "--quiet", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
