"""The errors of `model_io`: a sentence says the requirement, the finding and the remedy."""


class ModelError(ValueError):
    """An unreadable model, or a model that does not fit the weights or the intended use."""


class UnsafeFileError(ModelError):
    """A file that could run code or exhaust memory while loading; QuantScope ran no part of it."""


class OpenShapeError(ModelError):
    """A file that leaves the shapes of its inputs open, where nobody gave them.

    Attributes:
        proposal: shapes that may be meant, in the words of `model_io.input_specs.read_input_specs`.
    """

    def __init__(self, sentence: str, proposal: str) -> None:
        """Take the sentence for a person, and shapes to propose."""
        super().__init__(sentence)
        self.proposal = proposal
