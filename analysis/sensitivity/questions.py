"""The questions of a sweep, and the keys of the answers."""

import hashlib

from analysis.network import Network
from analysis.sensitivity.sweep import Question, Sweep, View
from analysis.site_encodings import SiteEncodings
from quant.errors import ConfigError

FORMAT = 2
"""Of the keys: with another number no answer of today is found."""
MIN_BITS, MAX_BITS = 2, 16


def questions_of_sweep(
    network: Network, sweep: Sweep, encodings: SiteEncodings
) -> tuple[Question, ...]:
    """Return the questions of a sweep, layer by layer in the order of the network.

    Raises:
        ConfigError: a layer is not the network's, or bits are out of bounds.
    """
    if wrong := [bits for bits in sweep.bits if not MIN_BITS <= bits <= MAX_BITS]:
        raise ConfigError(f"Bits of a sweep must be {MIN_BITS} to {MAX_BITS}; got {wrong[0]}.")
    names = [layer.name for layer in network.graph.layers]
    unknown = sorted(set(sweep.layers or ()) - set(names))
    if unknown:
        raise ConfigError(
            f"Layers must be the network's; got {unknown[0]!r}. Choose among {', '.join(names)}."
        )
    return tuple(
        Question(name, bits, side, sweep.view)
        for name in names
        if sweep.layers is None or name in sweep.layers
        for side in sweep.sides
        if encodings.site_names(name, side)
        for bits in sweep.bits
    )


def question_key(encodings: SiteEncodings, question: Question) -> str:
    """Return the key of a question's answer: a digest of every input of the answer."""
    known = encodings.answer_keys
    if question not in known:
        known[question] = _digest_of_question(encodings, question)
    return known[question]


def _digest_of_question(encodings: SiteEncodings, question: Question) -> str:
    own = encodings.site_names(question.layer or None, question.side)
    if question.view is View.ONLY:
        return _digest_of_encodings(
            encodings, "only", encodings.encoding_identities(own, question.bits)
        )
    everything = encodings.site_names(None, question.side)
    left_out = own if question.layer else ()
    identities = encodings.encoding_identities(everything, question.bits)
    return _digest_of_encodings(encodings, "all but", *left_out, identities)


def float_network_key(encodings: SiteEncodings) -> str:
    """Return the key of the float network's rows."""
    return _digest_of_encodings(encodings, "float")


def _digest_of_encodings(encodings: SiteEncodings, *parts: str) -> str:
    text = "\n".join((str(FORMAT), encodings.network.graph_digest, *parts))
    return hashlib.sha256(text.encode()).hexdigest()[:32]
