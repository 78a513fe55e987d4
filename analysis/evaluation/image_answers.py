"""The answers to the images of a run as short texts, so that runs compare image by image."""

import base64
import binascii
import zlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from quant.errors import QuantError


@dataclass(frozen=True, slots=True)
class ImageAnswers:
    """The answers to N images in order: texts of `pack_bits` and `pack_numbers`.

    `agrees` marks equal classes of both networks. `float_right` and `right` mark right answers of
    the float and the quantized network; empty without labels. `classes` is the class that the
    quantized network answers, `confidences` the share of the class in 1 / 10 000, `float_classes`
    and `float_confidences` those of the float network. `indices` is the position of each image in
    the data, `labels` the true class; empty without labels. Runs of older versions hold the bits
    alone.
    """

    agrees: str
    float_right: str = ""
    right: str = ""
    classes: str = ""
    confidences: str = ""
    float_classes: str = ""
    float_confidences: str = ""
    indices: str = ""
    labels: str = ""


CONFIDENCE_STEPS = 10_000
NUMBER = np.dtype("<u4")
PROBABILITY_ERROR = 1e-3
"""How far the sum of an output may lie from 1 where the output is a row of shares (our choice)."""


def confidences_of_outputs(outputs: Tensor) -> Tensor:
    """Return the share (N,) of the answered class in outputs (N, classes).

    Shares are the softmax of the outputs; outputs that are shares already stay as they are.
    """
    sums = outputs.double().sum(1)
    is_share = bool((outputs >= 0).all()) and bool(((sums - 1).abs() < PROBABILITY_ERROR).all())
    shares = outputs.double() if is_share else outputs.double().softmax(1)
    return shares.amax(1).nan_to_num(0.0).clamp(0, 1)


def pack_numbers(values: NDArray[np.integer]) -> str:
    """Return whole numbers (N,) from 0 to 2^32 - 1 as short text.

    Example:
        >>> unpack_numbers(pack_numbers(np.array([7, 0, 300])), 3).tolist()
        [7, 0, 300]
    """
    packed = zlib.compress(np.ascontiguousarray(values, NUMBER).tobytes(), 9)
    return base64.b85encode(packed).decode()


def unpack_numbers(text: str, count: int) -> NDArray[np.int64]:
    """Return the numbers (`count`,) in a text of `pack_numbers`.

    Raises:
        QuantError: the text holds another number of numbers.
    """
    size = count * NUMBER.itemsize
    try:
        content = zlib.decompressobj().decompress(base64.b85decode(text), size + 1)
    except (ValueError, binascii.Error, zlib.error):
        content = b""
    if len(content) != size:
        raise QuantError(
            f"The answers of a run must hold a number for each of its {count} images; they do not. "
            "Score the run again."
        )
    return np.frombuffer(content, NUMBER).astype(np.int64)


class AnswerTally:
    """Gathers class and confidence of both networks, image by image."""

    def __init__(self) -> None:
        self._numbers: dict[str, list[NDArray[np.int64]]] = defaultdict(list)

    def add_answers(
        self, indices: Sequence[int], labels: Tensor | None, reference: Tensor, quantized: Tensor
    ) -> None:
        """Add the outputs (N, classes) of both networks for the images at `indices`."""
        told = {"float_classes": reference.argmax(1), "classes": quantized.argmax(1)}
        for name, outputs in (("float_confidences", reference), ("confidences", quantized)):
            told[name] = (confidences_of_outputs(outputs) * CONFIDENCE_STEPS).round().long()
        if labels is not None:
            told["labels"] = labels
        for name, values in told.items():
            self._numbers[name].append(values.numpy())
        self._numbers["indices"].append(np.array(indices, np.int64))

    def packed_answers(self, *, labelled: bool) -> dict[str, str]:
        """Return the fields of `ImageAnswers` beyond the bits, as texts of `pack_numbers`."""
        return {
            name: pack_numbers(np.concatenate(parts))
            for name, parts in self._numbers.items()
            if labelled or name != "labels"
        }


def pack_bits(flags: NDArray[np.bool_]) -> str:
    """Return flags (N,) as hexadecimal text.

    >>> pack_bits(np.array([True, False, True]))
    'a0'
    """
    return np.packbits(flags).tobytes().hex()


def unpack_bits(text: str, count: int) -> NDArray[np.bool_]:
    """Return the flags (`count`,) in a text of `pack_bits`.

    Raises:
        QuantError: the text holds another number of flags.
    """
    try:
        packed = np.frombuffer(bytes.fromhex(text), np.uint8)
    except ValueError:
        packed = np.zeros(0, np.uint8)
    if len(packed) != -(-count // 8):
        raise QuantError(
            f"The answers of a run must hold a bit for each of its {count} images; got "
            f"{8 * len(packed)}. Score the run again."
        )
    return np.unpackbits(packed, count=count).astype(np.bool_)


def count_changes(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> tuple[int, int]:
    """Return the images (lost, won): right only before, and right only after."""
    return int((before & ~after).sum()), int((after & ~before).sum())
