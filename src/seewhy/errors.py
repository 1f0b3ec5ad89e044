"""What can go wrong in a way the user can fix.

Every error of ours is one sentence: what is wrong, where, what was expected, what to do.
The command line prints it and leaves with exit code 2; nothing else in seewhy prints or exits.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SeewhyError(Exception):
    """Base of all errors that name something the user can fix.

    Examples
    --------
    >>> from seewhy import SeewhyError, load_config
    >>> try:
    ...     load_config("demo", settings="head.dropout=2")
    ... except SeewhyError as error:
    ...     print(error)
    demo: head.dropout: input should be less than 1, but got 2
    """


class ConfigError(SeewhyError):
    """A config file, preset or ``--set`` that does not say what it should."""


class DataError(SeewhyError):
    """Images, labels or splits that cannot be used."""


class UnreadableImageError(DataError):
    """One image that cannot be decoded; it is set aside, the study continues.

    Parameters
    ----------
    reason : str
        What is wrong with it, without its name; kept as the attribute of the same name.
    name : str, optional
        Its name, for the message.
    """

    def __init__(self, reason: str, name: str = "") -> None:
        super().__init__(f"{name}: {reason}" if name else reason)
        self.reason = reason


class BackboneError(SeewhyError):
    """A backbone, its weights or its cut that cannot be had."""


class DownloadError(SeewhyError):
    """Something that should have come over the network and did not."""


class TrainingError(SeewhyError):
    """Training that cannot continue with these settings."""


class RunError(SeewhyError):
    """A run directory that is missing, incomplete, taken or cannot be written."""


class OtherStudyError(RunError):
    """A run directory whose study was started under other conditions than are asked for now.

    Parameters
    ----------
    reason : str
        Where and what differs, without what to do about it; kept as the attribute of the same name.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"{reason}; choose another place with --out, or start over with --fresh, which "
            "deletes it"
        )
        self.reason = reason


def near_names(name: str, known: Iterable[str], count: int = 5) -> str:
    """Return ``"; did you mean a, b or c?"`` for the known names nearest to `name`.

    Parameters
    ----------
    name : str
        What was asked for.
    known : iterable of str
        What there is.
    count : int, default 5
        At most this many suggestions.

    Returns
    -------
    str
        Empty where nothing is near.
    """
    near = difflib.get_close_matches(name, list(known), n=count, cutoff=0.6)
    if not near:
        return ""
    listed = near[0] if len(near) == 1 else f"{', '.join(near[:-1])} or {near[-1]}"
    return f"; did you mean {listed}?"


def first_line(error: Exception) -> str:
    """Return the first line of a foreign error's message, to put into one of our sentences."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
