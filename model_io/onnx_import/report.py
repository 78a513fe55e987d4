"""The report of an import, in numbers and in sentences."""

from collections import Counter
from dataclasses import dataclass

from model_io.onnx_import.patterns.recognise import Recognised

_LISTED = 12
"""Operators that a sentence counts one by one."""


@dataclass(frozen=True)
class ImportReport:
    """The content of an ONNX file and the steps of the import.

    Attributes:
        producer: the program that wrote the file, from the file.
        opset: version of the standard operators.
        operators: (operator, number of nodes) in the file without constants, by falling number.
        folded: number of nodes computed once, or nodes that only passed values on.
        recognised: operators that replace several small nodes.
        transposes: number of pairs of transposes that cancelled out.
        widened: whether half precision became float32.
        outside: number of tensors in files beside the model.
        encodings: number of tensors with encodings from quantizers in the file.
        freed_batch: the batch size of the file, if the network accepts every batch and the file
            does not; else None.
        difference: relative difference beside ONNX Runtime.
        inputs: number of inputs, random and real, behind `difference`.
        left_out: names of outputs without real numbers.
    """

    producer: str
    opset: int
    operators: tuple[tuple[str, int], ...]
    folded: int
    recognised: tuple[Recognised, ...]
    transposes: int
    widened: bool
    outside: int
    encodings: int
    freed_batch: int | None
    difference: float
    inputs: int
    left_out: tuple[str, ...] = ()

    @property
    def node_count(self) -> int:
        """The number of nodes in the file, constants apart."""
        return sum(count for _, count in self.operators)

    def report_sentences(self) -> list[str]:
        """Return the report for a user, one sentence for each fact."""
        kinds = Counter(found.operator for found in self.recognised)
        listed = ", ".join(f"{count} {name}" for name, count in kinds.most_common())
        loose = sum(found.nodes for found in self.recognised)
        by = f"{self.opset}{f', written by {self.producer}' if self.producer else ''}"
        apart = f"largest relative difference {self.difference:.1e}"
        most = ", ".join(f"{count} {name}" for name, count in self.operators[:_LISTED])
        rest = len(self.operators) - _LISTED
        every = [
            (True, f"{self.node_count} nodes of {len(self.operators)} operators, opset {by}."),
            (True, f"Operators: {most}{f' and {rest} others' if rest > 0 else ''}."),
            (self.folded, f"{self.folded} nodes were constant or copies and are gone."),
            (self.recognised, f"Recognised in {loose} nodes: {listed}."),
            (self.transposes, f"{self.transposes} pairs of transposes undid one another."),
            (self.widened, "Half precision was widened to float32."),
            (self.outside, f"{self.outside} tensors came from files beside the model."),
            (self.encodings, f"Quantizers were taken out: {self.encodings} encodings were read."),
            (self.freed_batch, f"Any batch runs, though the file has one of {self.freed_batch}."),
            (self.left_out, f"Outputs of whole numbers are left out: {', '.join(self.left_out)}."),
            (True, f"Beside ONNX Runtime on {self.inputs} inputs: {apart}."),
        ]
        return [sentence for holds, sentence in every if holds]
