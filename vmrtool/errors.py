"""The few kinds of error vmrtool raises on purpose, each with the exit code it stands for.

Every error says what is wrong and, where there is one, the way on. The command line prints
both and exits with `exit_code`; a traceback is shown only with `--debug`.
"""


class VmrtoolError(Exception):
    """Base of every deliberate error; `remedy` is what to do next, or None."""

    exit_code = 3

    def __init__(self, message: str, *, remedy: str | None = None) -> None:
        super().__init__(message)
        self.remedy = remedy


class UsageError(VmrtoolError):
    """The command was called wrongly: no such directory, an empty query, a bad value."""

    exit_code = 2


class MissingError(VmrtoolError):
    """There is nothing to work with: no catalog, model, asset, or one that does not fit."""

    exit_code = 3


class CatalogError(MissingError):
    """The catalog cannot be used: not a catalog, written by a newer vmrtool, damaged."""


class ModelError(MissingError):
    """A model or its weights cannot be used: wrong file, wrong shape, does not fit the catalog."""


class AssetError(MissingError):
    """Weights, word vectors or annotations cannot be had: no network, gone, damaged."""


class DiskError(AssetError):
    """They cannot be had because there is no place to write them to."""


class StoreError(MissingError):
    """A store of videos cannot be read: it does not answer, or does not let us in."""


class DataError(MissingError):
    """Annotations, features or predictions cannot be used; the message names file and line."""


class DivergedError(VmrtoolError):
    """Training cannot go on: a loss is not a finite number."""

    exit_code = 1


class MediaError(VmrtoolError):
    """One video cannot be read; `stage` is where it failed: 'open', 'decode' or 'extract'."""

    exit_code = 1

    def __init__(self, message: str, *, stage: str, remedy: str | None = None) -> None:
        super().__init__(message, remedy=remedy)
        self.stage = stage
