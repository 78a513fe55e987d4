"""The errors of the package: a sentence says what must hold, what was got, what to do."""


class DatasetError(ValueError):
    """Data that cannot be read, or that do not fit the use."""
