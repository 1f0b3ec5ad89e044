"""Which files are pictures: by their suffix, or by their content where they have none.

Nothing is decoded here; the formats are in ``formats.py``.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from PIL import Image

from seewhy.data.decoding.dicom import SUFFIXES as DICOM_SUFFIXES
from seewhy.data.decoding.dicom import is_dicom
from seewhy.data.decoding.formats import BY_SUFFIX, HEAD, is_heif, known_formats, quietly

# Pictures whatever is installed: where they are unreadable, each is set aside with the reason.
_ALWAYS = frozenset({".heic", ".heif", ".hif", ".avif", ".jxl", ".jp2", ".mpo", *DICOM_SUFFIXES})
# A larger picture is one too, and refused when it is decoded.
_MEGAPIXELS = 100.0
# A suffix as people write them; "scan 1.2" and "Mr. Smith" have none.
_SUFFIX = re.compile(r"\.[A-Za-z][A-Za-z0-9]{0,9}$")


@cache
def picture_suffixes() -> frozenset[str]:
    """Return the suffixes of picture files, in small letters, with their dot."""
    formats = set(known_formats())
    known = Image.registered_extensions().items()
    return _ALWAYS | set(BY_SUFFIX) | {suffix for suffix, name in known if name in formats}


def suffix_of(name: str) -> str:
    """Return a file name's suffix in small letters, with its dot; empty where it has none."""
    found = _SUFFIX.search(name.strip())
    return found[0].lower() if found and found.start() else ""


def is_picture(file: Path) -> bool:
    """Tell a picture file, or a link to one, from others; without a suffix it is opened to see."""
    suffix = suffix_of(file.name)
    return suffix in picture_suffixes() if suffix else _opens(file)


def _opens(file: Path) -> bool:
    try:
        with file.open("rb") as stream:
            head = stream.read(HEAD)
            if is_heif(head) or is_dicom(head):
                return True  # without the package that reads it, it is set aside with the reason
        with quietly(_MEGAPIXELS), Image.open(file, formats=known_formats()):
            return True
    except Image.DecompressionBombError:
        return True
    # Over bytes that only begin like a picture Pillow raises nearly anything.
    except Exception:
        return False
