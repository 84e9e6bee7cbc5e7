"""Errors a caller can act on: each says what was found, what was expected and the choices.

The command line turns them into one line on stderr and an exit code: 1 when the work failed, 2 when it was asked
wrongly.  Library users catch `SepnetError`, or a subclass when they care which.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "DataError",
    "FormatError",
    "MissingExtraError",
    "MissingPackageError",
    "NetworkArgumentError",
    "NetworkError",
    "OutputError",
    "RecipeError",
    "RuinedError",
    "SepnetError",
    "UnknownNameError",
    "UsageError",
    "WeightsError",
    "brief",
]

_LONGEST = 300


def brief(problem: object) -> str:
    """What another library says, on one line of at most 300 characters, cut between words.

    >>> brief("Got: 28\\n  Expected: 32"), brief("abcd " * 100)[-11:]
    ('Got: 28 Expected: 32', 'abcd abcd …')
    """
    text = " ".join(str(problem).split())
    if len(text) <= _LONGEST:
        return text
    head = text[: _LONGEST - 1]
    return (head.rpartition(" ")[0] or head[:-1]) + " …"


class SepnetError(Exception):
    """Base of every error that sepnet raises on purpose.  `exit_code` is what the command line exits with."""

    exit_code: int = 1


class UsageError(SepnetError):
    """The call itself is wrong: an option, a name or a combination that cannot work."""

    exit_code = 2


class RuinedError(SepnetError):
    """What was made is so far from what it was made of that nobody can want it; it is not written."""


class UnknownNameError(UsageError):
    """A name that is on no shelf.  The message lists the choices and the nearest one.

    >>> str(UnknownNameError("codec", "hufman", ["huffman", "ans"]))
    "unknown codec 'hufman'; did you mean 'huffman'? choices: ans, huffman"
    """

    def __init__(self, noun: str, found: str, choices: Iterable[str]) -> None:
        self.noun, self.found, self.choices = noun, found, sorted(choices)
        near = difflib.get_close_matches(found, self.choices, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ";"
        super().__init__(f"unknown {noun} {found!r}{hint} choices: {', '.join(self.choices)}")


class MissingExtraError(UsageError):
    """A feature that needs an optional dependency which is not installed.

    >>> str(MissingExtraError("sepnet train", "torch", "torch"))
    "sepnet train needs torch, which is not installed; pip install 'sepnet[torch]', or '.[torch]' in a clone of sepnet"
    """

    def __init__(self, what: str, package: str, extra: str) -> None:
        super().__init__(
            f"{what} needs {package}, which is not installed; pip install 'sepnet[{extra}]', or '.[{extra}]' in a clone of sepnet"
        )


class MissingPackageError(UsageError):
    """A feature that needs a package of somebody else's, which sepnet does not install.

    >>> str(MissingPackageError("network 'timm:vit'", "timm"))
    "network 'timm:vit' needs timm, which is not installed; pip install timm"
    """

    def __init__(self, what: str, package: str) -> None:
        super().__init__(f"{what} needs {package}, which is not installed; pip install {package}")


class RecipeError(UsageError):
    """A recipe that cannot be read, or does not fit the network."""


class NetworkError(SepnetError):
    """A network that cannot be built, traced or exported."""


class NetworkArgumentError(NetworkError):
    """An argument of a network, or a type of its inputs, that cannot be: it was asked for wrongly."""

    exit_code = 2


class WeightsError(SepnetError):
    """A weights file that cannot be read, is of another network, or holds NaN or Inf."""


class DataError(SepnetError):
    """A data set that is missing, empty or broken."""


class FormatError(SepnetError):
    """A packed file that is damaged, truncated, hostile, or of a newer version."""


class OutputError(SepnetError):
    """The result could not be written.  What was at the path before is intact."""
