"""What the command line prints to: any encoding, and a reader that may leave.

A study takes hours; that a terminal cannot show a letter, or that nobody reads any more, must not
end it. Knows streams, not what is printed.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
from contextlib import suppress
from typing import Any, Literal

# How signs of our own sentences look where the encoding has none of them.
PLAIN = {
    "±": "+/-",
    "×": "x",
    "…": "...",
    "–": "-",
    "—": "-",
    "−": "-",
    "→": "->",
    "≤": "<=",
    "≥": ">=",
    "≈": "~",
    "·": ".",
    "‘": "'",
    "’": "'",
    "“": '"',
    "”": '"',
    "²": "^2",
    "α": "alpha",
    "�": "?",
}
HANDLER = "seewhy.plain"


class SafeStream:
    """Standard output or standard error, which cannot end what prints to it.

    Parameters
    ----------
    name : {"stdout", "stderr"}
        Looked up with every call, since tests and progress bars exchange it.
    forgiving : bool
        Whether any error of the stream is passed over, as for progress; else only that its reader
        has left, and results that cannot be written are an error.
    """

    def __init__(self, name: Literal["stdout", "stderr"], forgiving: bool) -> None:
        self._name = name
        self._forgiving = forgiving

    @property
    def _inner(self) -> Any:
        stream = getattr(sys, self._name)
        # While Rich shows bars it puts a proxy there that prints through us.
        return getattr(stream, "rich_proxied_file", stream)

    @property
    def encoding(self) -> str:
        """The encoding that text is written in."""
        return getattr(self._inner, "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        """Tell whether somebody looks at it."""
        with suppress(OSError, ValueError):
            return self._inner is not None and bool(self._inner.isatty())
        return False

    def fileno(self) -> int:
        """Return the number the system knows it by."""
        if self._inner is None:
            raise io.UnsupportedOperation("fileno")
        number: int = self._inner.fileno()
        return number

    def write(self, text: str) -> int:
        """Write text; nothing where nobody reads any more."""
        self._do("write", text)
        return len(text)

    def flush(self) -> None:
        """Hand on what was written."""
        self._do("flush")

    def _do(self, what: str, *arguments: str) -> None:
        inner = self._inner
        if inner is None:
            return
        try:
            getattr(inner, what)(*arguments)
        except BrokenPipeError:
            _discard(inner)
        except OSError:
            if not self._forgiving:
                raise
            _discard(inner)
        except ValueError:  # closed; a UnicodeEncodeError too, where `fit_encoding` had no say
            if not inner.closed:
                raise


def fit_encoding() -> None:
    """Let standard output and error write what their encoding lacks in plain letters."""
    codecs.register_error(HANDLER, _in_plain_letters)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=HANDLER)


def _in_plain_letters(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    return "".join(PLAIN.get(c) or _escaped(c) for c in letters), error.end


def _escaped(letter: str) -> str:
    return letter.encode("ascii", "backslashreplace").decode("ascii")


def _discard(stream: Any) -> None:
    """Point a stream at nothing, so that nothing of it is tried again, at the exit neither."""
    with suppress(OSError, ValueError):
        nothing = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nothing, stream.fileno())
        finally:
            os.close(nothing)
