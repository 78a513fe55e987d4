"""The errors of this package: every sentence says what must hold, what was got, what to do."""


class ModelError(ValueError):
    """A model that cannot be read, or does not fit the weights or the place it is used in."""


class UnsafeFileError(ModelError):
    """A file that could run code, or exhaust memory, while it is read; nothing of it was run."""


class OpenShapeError(ModelError):
    """A file that leaves the shapes of its inputs open, where nobody gave them.

    Attributes:
        proposal: shapes that may be meant, in the words of `model_io.input_specs.read_wish`.
    """

    def __init__(self, sentence: str, proposal: str) -> None:
        """Take the sentence for a person, and shapes to propose."""
        super().__init__(sentence)
        self.proposal = proposal
