"""Errors with sentences for the person at the screen."""


class QuantError(ValueError):
    """An error for users; the sentence says what must hold, what was got and what to do."""


class CaptureError(QuantError):
    """A model could not be turned into a graph."""


class ConfigError(QuantError):
    """A configuration cannot be read or does not fit the model."""


class CalibrationError(QuantError):
    """The statistics at hand cannot give an encoding."""
