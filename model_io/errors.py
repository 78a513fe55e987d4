"""The errors of this package: every sentence says what must hold, what was got, what to do."""


class ModelError(ValueError):
    """A model that cannot be read, or does not fit the weights or the place it is used in."""


class UnsafeFileError(ModelError):
    """A file that could run code, or exhaust memory, while it is read; nothing of it was run."""
