"""The errors of this package: every sentence says what must hold, what was got, what to do."""


class DatasetError(ValueError):
    """Data that cannot be read, or that does not fit what it is used with."""
