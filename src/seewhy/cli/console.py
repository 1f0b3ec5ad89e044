"""Standard output and standard error: safe in every encoding and after the reader has left.

A study takes hours. A terminal that cannot show a character, or a closed pipe, must not end it.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
from contextlib import suppress
from typing import IO, Any, Literal, cast

from rich.console import Console

# Replacements for the symbols in our own sentences, for encodings that lack them.
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
    """Standard output or standard error; writing to it cannot end the program.

    The stream `name` is looked up at every call, because tests and progress bars replace it. If
    `forgiving`, every error of the stream is ignored, as is right for progress; else only a reader
    that has left is: results that cannot be written are an error.
    """

    def __init__(self, name: Literal["stdout", "stderr"], forgiving: bool) -> None:
        self._name = name
        self._forgiving = forgiving

    @property
    def _stream(self) -> Any:
        stream = getattr(sys, self._name)
        # While Rich shows bars, it puts a proxy there that prints through us.
        return getattr(stream, "rich_proxied_file", stream)

    @property
    def encoding(self) -> str:
        """The encoding that text is written in."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        """Return whether the stream is a terminal."""
        with suppress(OSError, ValueError):
            return self._stream is not None and bool(self._stream.isatty())
        return False

    def fileno(self) -> int:
        """Return the file descriptor."""
        if self._stream is None:
            raise io.UnsupportedOperation("fileno")
        descriptor: int = self._stream.fileno()
        return descriptor

    def write(self, text: str) -> int:
        """Write text; do nothing if the reader has left."""
        self._call("write", text)
        return len(text)

    def flush(self) -> None:
        """Flush the stream."""
        self._call("flush")

    def _call(self, method: str, *arguments: str) -> None:
        stream = self._stream
        if stream is None:
            return
        try:
            getattr(stream, method)(*arguments)
        except BrokenPipeError:
            _discard(stream)
        except OSError:
            if not self._forgiving:
                raise
            _discard(stream)
        except ValueError:  # a closed stream; or a UnicodeEncodeError before `fit_encoding`
            if not stream.closed:
                raise


# Rich accepts anything that can be written to as a file.
out = Console(file=cast(IO[str], SafeStream("stdout", forgiving=False)), soft_wrap=True)
err = Console(file=cast(IO[str], SafeStream("stderr", forgiving=True)), soft_wrap=True)


def print_result(line: str) -> None:
    """Print a line of results to standard output, unchanged."""
    out.print(line, markup=False, highlight=False)


def print_message(line: str) -> None:
    """Print a message to standard error, unchanged."""
    err.print(line, markup=False, highlight=False)


def fit_encoding() -> None:
    """Have standard output and error replace characters that their encoding lacks."""
    codecs.register_error(HANDLER, _replaced)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=HANDLER)


def _replaced(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    characters = error.object[error.start : error.end]
    return "".join(PLAIN.get(c) or _escaped(c) for c in characters), error.end


def _escaped(character: str) -> str:
    return character.encode("ascii", "backslashreplace").decode("ascii")


def _discard(stream: Any) -> None:
    """Redirect a stream to the null device, so that nothing reaches it again, even at exit."""
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(null, stream.fileno())
        finally:
            os.close(null)
