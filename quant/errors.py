"""Errors whose sentences are meant for the person at the screen."""


class QuantError(ValueError):
    """Something a user can put right; says what must hold, what was got and what to do."""


class CaptureError(QuantError):
    """A model could not be turned into a graph."""


class ConfigError(QuantError):
    """A configuration cannot be read or does not fit the model."""


class CalibrationError(QuantError):
    """An encoding was asked for that the statistics at hand cannot give."""
