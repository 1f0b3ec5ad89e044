"""DICOM files against values worked out by hand and pydicom's own windows; TIFF's channels."""

from __future__ import annotations

import builtins
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import apply_windowing
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit, SecondaryCaptureImageStorage

from seewhy.config import load_config
from seewhy.data.decoding.dicom import Window
from seewhy.data.decoding.picture import decode_image, is_deep, measure_image, picture_size
from seewhy.data.decoding.value_levels import ValueRange, decide_levels
from seewhy.data.prepare import prepare_data
from seewhy.data.sources.object_masks import ObjectMasks
from seewhy.data.sources.picture_suffixes import is_picture
from seewhy.errors import DataError, UnreadableImageError
from seewhy.runtime.progress import Silent
from seewhy.storage.run_directory import RunDirectory
from seewhy.storage.schemas.levels import Levels, ValueLevel


def write(path: Path, values: NDArray[Any], **fields: Any) -> Path:
    """Write values (H, W), (H, W, 3) or frames (F, H, W) as a DICOM file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = Dataset()
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    file.file_meta.MediaStorageSOPInstanceUID = file.SOPInstanceUID = "1.2.3"
    file.SOPClassUID = SecondaryCaptureImageStorage
    colours = values.ndim == 3 and values.shape[-1] == 3
    file.Rows, file.Columns = values.shape[:2] if colours or values.ndim == 2 else values.shape[1:]
    file.SamplesPerPixel = 3 if colours else 1
    file.PhotometricInterpretation = "RGB" if colours else "MONOCHROME2"
    if colours:
        file.PlanarConfiguration = 0
    if values.ndim == 3 and not colours:
        file.NumberOfFrames = len(values)
    file.BitsAllocated = file.BitsStored = 8 * values.dtype.itemsize
    file.HighBit = file.BitsStored - 1
    file.PixelRepresentation = int(values.dtype.kind == "i")
    file.PixelData = values.tobytes()
    for name, value in fields.items():
        setattr(file, name, value)
    file.save_as(path, enforce_file_format=True)
    return path


def row(picture: NDArray[np.uint8]) -> list[int]:
    assert (picture == picture[..., :1]).all()
    return picture[0, :, 0].tolist()


HOUNSFIELD = {"RescaleSlope": 1, "RescaleIntercept": -1024}
STORED = np.array([[824, 1063, 1064, 1264, 3000]] * 2, np.uint16)  # -200, 39, 40, 240, 1976


def test_a_files_own_window_is_applied_to_what_was_measured(tmp_path: Path) -> None:
    path = write(tmp_path / "ct.dcm", STORED, **HOUNSFIELD, WindowCenter=40, WindowWidth=401)
    # (value - 39.5) / 400 + 0.5, clipped: -0.09, 0.49875, 0.50125, 1.00125, 5.3.
    assert row(decode_image(path)) == [0, 127, 128, 255, 255]
    assert measure_image(path) == ValueRange("windowed", -200.0, 1976.0)
    assert is_deep(path)


def test_the_first_of_several_windows_is_taken(tmp_path: Path) -> None:
    windows = {"WindowCenter": [40, 500], "WindowWidth": [401, 2000]}
    path = write(tmp_path / "ct.dcm", STORED, **HOUNSFIELD, **windows)
    assert row(decode_image(path)) == [0, 127, 128, 255, 255]


def test_in_monochrome1_the_lowest_value_is_white(tmp_path: Path) -> None:
    fields = {"WindowCenter": 40, "WindowWidth": 401, "PhotometricInterpretation": "MONOCHROME1"}
    path = write(tmp_path / "xray.dcm", STORED, **HOUNSFIELD, **fields)
    assert row(decode_image(path)) == [255, 128, 127, 0, 0]


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize("width", [1.0, 2.0, 400.0])
def test_windows_are_those_of_pydicom(function: Any, width: float) -> None:
    values = np.linspace(-300, 400, 701).reshape(1, -1)
    file = Dataset()
    file.WindowCenter, file.WindowWidth, file.VOILUTFunction = 40.25, width, function
    file.PhotometricInterpretation, file.BitsStored = "MONOCHROME2", 8
    file.PixelRepresentation = 0
    with np.errstate(over="ignore"):
        theirs = apply_windowing(values, file)  # 0 … 255
    ours = Window(40.25, width, function).to_8_bit(values)
    np.testing.assert_array_equal(ours, np.rint(theirs))


def test_a_table_of_grey_levels_goes_before_the_window(tmp_path: Path) -> None:
    table = Dataset()
    table.LUTDescriptor = [4, 10, 8]
    table.LUTData = struct.pack("<4H", 0, 50, 200, 255)
    table["LUTData"].VR = "OW"
    values = np.array([[0, 10, 11, 12, 13, 90]], np.uint16)
    path = write(tmp_path / "a.dcm", values, VOILUTSequence=[table], WindowCenter=1, WindowWidth=2)
    assert row(decode_image(path)) == [0, 0, 50, 200, 255, 255]
    levels = Levels((ValueLevel("windowed", 0.0, 51.0),))
    assert row(decode_image(path, levels=levels)) == [0, 50, 55, 60, 65, 255]


def test_without_a_window_all_files_share_one_white(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", np.array([[0, 819, 4095]], np.uint16))
    assert measure_image(path) == ValueRange("float", 0.0, 4095.0)
    assert row(decode_image(path)) == [0, 51, 255]
    levels = Levels((ValueLevel("float", 0.0, 8190.0),))
    assert row(decode_image(path, levels=levels)) == [0, 26, 128]


def test_a_level_that_was_asked_for_goes_before_windows(tmp_path: Path) -> None:
    path = write(tmp_path / "ct.dcm", STORED, **HOUNSFIELD, WindowCenter=40, WindowWidth=401)
    lungs = decide_levels([("ct.dcm", ValueRange("windowed", -200, 1976))], 240.0, -200.0)
    # Files without a window, which a later prediction may bring, are shown alike.
    assert lungs.levels.known == (
        ValueLevel("windowed", -200.0, 240.0),
        ValueLevel("float", -200.0, 240.0),
    )
    plain = write(tmp_path / "plain.dcm", STORED, **HOUNSFIELD)
    assert row(decode_image(plain, levels=lungs.levels)) == [0, 139, 139, 255, 255]
    assert row(decode_image(path, levels=lungs.levels)) == [0, 139, 139, 255, 255]


def test_own_windows_are_named_and_mixed_files_may_be_given_one() -> None:
    spans = [("a", ValueRange("windowed", 0, 9)), ("b", ValueRange("float", 0, 200))]
    own = decide_levels(spans)
    assert [level.kind for level in own.levels.known] == ["float"]
    assert own.notes[-1] == (
        "1 DICOM file is shown with the window that each file names (data.black and data.white "
        "set one for all of them)."
    )
    assert len(decide_levels(spans, white=100.0).levels.known) == 2
    with pytest.raises(DataError, match="no white in common"):
        decide_levels([*spans, ("c", ValueRange("16-bit", 0, 9))], white=100.0)


def test_colours_frames_and_palettes(tmp_path: Path) -> None:
    colours = np.array([[(200, 30, 40), (20, 180, 60)]], np.uint8)
    np.testing.assert_array_equal(decode_image(write(tmp_path / "a.dcm", colours)), colours)
    deep = (colours.astype(np.uint16) * 257).reshape(1, 2, 3)
    np.testing.assert_array_equal(decode_image(write(tmp_path / "b.dcm", deep)), colours)
    frames = np.stack([np.full((2, 2), 7, np.uint8), np.full((2, 2), 9, np.uint8)])
    first = decode_image(write(tmp_path / "c.dcm", frames, WindowCenter=128, WindowWidth=256))
    assert (first == 7).all()
    palette: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for number, name in enumerate(("Red", "Green", "Blue")):
        palette[f"{name}PaletteColorLookupTableDescriptor"] = [2, 0, 16]
        data = struct.pack("<2H", *(257 * colours[0, :, number].astype(int)).tolist())
        palette[f"{name}PaletteColorLookupTableData"] = data
    path = write(tmp_path / "d.dcm", np.array([[0, 1]], np.uint8), **palette)
    np.testing.assert_array_equal(decode_image(path), colours)


def test_a_compressed_file_of_full_brightness_colours(tmp_path: Path) -> None:
    jpeg = tmp_path / "a.jpg"
    Image.new("RGB", (16, 16), (180, 90, 40)).save(jpeg, quality=95)
    path = write(tmp_path / "a.dcm", np.zeros((16, 16, 3), np.uint8))
    file = pydicom.dcmread(path)
    file.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    file.PhotometricInterpretation = "YBR_FULL_422"
    file.PixelData = pydicom.encaps.encapsulate([jpeg.read_bytes()])
    file["PixelData"].VR = "OB"
    file.save_as(path, enforce_file_format=True)
    assert np.abs(decode_image(path).astype(int) - (180, 90, 40)).max() <= 2


def test_what_has_no_picture_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.zeros((4, 4), np.uint16)
    path = write(tmp_path / "a.dcm", values)
    file = pydicom.dcmread(path)
    del file.Rows
    file.save_as(tmp_path / "report.dcm")
    four = write(tmp_path / "four.dcm", values, SamplesPerPixel=4)
    with pytest.raises(UnreadableImageError, match="is a DICOM file without a picture"):
        decode_image(tmp_path / "report.dcm")
    with pytest.raises(UnreadableImageError, match=r"has 4 channels; expected 1 \(grey\) or 3"):
        decode_image(four)
    with pytest.raises(UnreadableImageError, match="more than 1e-05 megapixels"):
        decode_image(path, max_megapixels=1e-5)
    cut = tmp_path / "cut.dcm"
    cut.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UnreadableImageError, match="cannot be decoded"):
        decode_image(cut)

    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("pydicom"):
            raise ImportError(name)
        return real(name, *rest)

    for name in [name for name in sys.modules if name.split(".")[0] == "pydicom"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UnreadableImageError, match=r"pip install 'seewhy\[dicom\]'"):
        decode_image(path)


@pytest.mark.parametrize("seed", range(60))
def test_damaged_files_are_refused_in_one_sentence(tmp_path: Path, seed: int) -> None:
    path = write(tmp_path / "a.dcm", STORED, **HOUNSFIELD, WindowCenter=40, WindowWidth=401)
    rng = np.random.default_rng(seed)
    data = bytearray(path.read_bytes())
    for place in rng.integers(132, len(data), 6).tolist():
        data[place] = int(rng.integers(256))
    path.write_bytes(bytes(data[: int(rng.integers(140, len(data)))] if seed % 3 == 0 else data))
    try:
        assert decode_image(path).ndim == 3
    except UnreadableImageError as error:
        assert "\n" not in str(error)


def test_a_folder_of_dicom_files_without_suffixes_is_a_data_set(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    window = {"WindowCenter": 40, "WindowWidth": 401}
    for name, low in (("dark", 0), ("light", 700)):
        for number in range(6):
            values = rng.integers(low, low + 900, (40, 40)).astype(np.uint16)
            path = write(tmp_path / "ct" / name / f"IM{number}", values, **HOUNSFIELD, **window)
            assert is_picture(path)
    run = RunDirectory(tmp_path / "run")
    data = prepare_data(load_config(tmp_path / "ct"), 32, run, Silent())
    assert data.classes == ("dark", "light")
    assert len(data.labels) == 12
    # Dark values are -1024 … -125, below the window's lower end of -160.
    assert data.pixels[data.labels == 0].max() < 30 < data.pixels[data.labels == 1].mean()
    findings = run.data.read_checks().findings
    assert findings is not None
    assert any("12 DICOM files are shown with the window" in note for note in findings.notes)


def test_boxes_and_masks_fit_dicom_pictures(tmp_path: Path) -> None:
    """A box of a table, and a mask beside the folder."""
    path = write(tmp_path / "a.dcm", np.zeros((20, 40), np.uint16))
    heic = tmp_path / "a.heic"
    pillow_heif.from_pillow(Image.new("RGB", (40, 20))).save(heic)
    assert picture_size(path) == (40, 20)
    # From its header: the values are not there to be decoded.
    cut = tmp_path / "cut.dcm"
    cut.write_bytes(path.read_bytes()[:-99])
    assert picture_size(cut) == (40, 20)
    for picture in (path, heic):
        masks = ObjectMasks((picture,), (None,), (((10, 5, 20, 10),),), 100)
        found = masks.load(0)
        assert found.shape == (20, 40)
        assert found[5:10, 10:20].all()
        assert found.sum() == 50


def tiff(path: Path, bands: int, photometric: int, extra: tuple[int, ...]) -> Path:
    """Write a TIFF of 4 × 5 pixels and `bands` channels of 8 bits, 0, 1, 2, …"""
    data = np.arange(20 * bands, dtype=np.uint8).tobytes()
    arrays = {258: (8,) * bands, 338: extra}
    single = {256: 5, 257: 4, 259: 1, 262: photometric, 277: bands, 278: 4, 279: len(data), 284: 1}
    numbers = sorted({*single, 273, 258, *([338] if extra else [])})
    place = 8 + 2 + 12 * len(numbers) + 4
    blob, entries = b"", b""
    for number in numbers:
        if number == 273:
            entries += struct.pack("<HHII", 273, 4, 1, place + 2 * (bands + len(extra)))
        elif number in single:
            entries += struct.pack("<HHII", number, 4, 1, single[number])
        else:
            packed = struct.pack(f"<{len(arrays[number])}H", *arrays[number])
            inline = packed.ljust(4, b"\0") if len(packed) <= 4 else None
            entries += struct.pack("<HHI", number, 3, len(arrays[number]))
            entries += inline or struct.pack("<I", place + len(blob))
            blob += packed
    blob = blob.ljust(2 * (bands + len(extra)), b"\0")
    # The long arrays come first among the values, so that their offsets hold.
    head = b"II*\0" + struct.pack("<IH", 8, len(numbers)) + entries + struct.pack("<I", 0)
    path.write_bytes(head + blob + data)
    return path


@pytest.mark.parametrize(
    ("bands", "photometric", "extra"),
    [(3, 2, ()), (4, 2, (2,)), (4, 2, (1,)), (4, 5, ())],
    ids=["colours", "transparency", "premultiplied", "inks"],
)
def test_channels_that_show_a_picture_are_read(
    tmp_path: Path, bands: int, photometric: int, extra: tuple[int, ...]
) -> None:
    assert decode_image(tiff(tmp_path / "a.tif", bands, photometric, extra)).shape == (4, 5, 3)


@pytest.mark.parametrize(
    ("bands", "photometric", "extra"),
    [(4, 2, (0,)), (5, 2, (0, 0)), (5, 2, (2, 0)), (2, 1, ()), (6, 1, (0,) * 5), (5, 5, (0,))],
    ids=["near infrared", "two more", "transparency and one more", "grey", "bands", "inks"],
)
def test_further_channels_are_refused_by_name(
    tmp_path: Path, bands: int, photometric: int, extra: tuple[int, ...]
) -> None:
    path = tiff(tmp_path / "a.tif", bands, photometric, extra)
    with pytest.raises(UnreadableImageError, match=f"a.tif: has {bands} channels; expected grey"):
        decode_image(path)
