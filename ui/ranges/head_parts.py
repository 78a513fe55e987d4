"""The head of a detector on the page Ranges: its parts with their ranges apart."""

import streamlit as st

from analysis.diagnosis.head.head_parts import MIXED, DetectorHead, find_head
from analysis.ranges.tensors import RangeBook
from quant.spec import FLOAT_BITS
from ui.state.workspace import Workspace
from ui.widgets.markdown import plain

USUAL_BITS = 8


def show_head_parts(workspace: Workspace, book: RangeBook) -> None:
    """Show the parts that meet in the outputs, where their ranges are unlike; else nothing."""
    parts = workspace.parts
    if parts is None or parts.metric is None or not book.activations:
        return
    head = find_head(book)
    if head is None:
        return
    with st.expander("The head: what meets in the outputs", icon=":material/call_merge:"):
        st.markdown(f"**{plain(head_sentence(head))}**")
        rows = []
        for part in head.parts:
            bits = _joint_bits(workspace, book, part.concat or part.layer)
            told = "float" if bits == FLOAT_BITS else f"{head.codes_of_part(part, bits):.0f}"
            rows.append(
                {
                    "holds": str(part.role),
                    "layer": part.layer,
                    "joined by": part.concat or "an output of its own",
                    "from": part.low,
                    "to": part.high,
                    "bits": "float" if bits == FLOAT_BITS else str(bits),
                    "codes of the shared encoding": told,
                }
            )
        st.dataframe(rows, hide_index=True, width="stretch", alt="Parts of the head")
        st.caption("Diagnose tries to split the ranges, 16 bits, and a float head.")


def head_sentence(head: DetectorHead) -> str:
    """Return in a sentence whether the parts of a head have unlike ranges in one encoding."""
    if not head.mixed:
        return "The parts of the head have alike ranges, or encodings of their own."
    joined = [part for part in head.parts if part.concat in head.mixed]
    wide = max(joined, key=lambda part: part.reach)
    narrow = min((part for part in joined if part.reach > 0), key=lambda part: part.reach)
    return (
        f"One encoding holds {wide.role} up to {wide.reach:.3g} and {narrow.role} up to "
        f"{narrow.reach:.3g}: at {USUAL_BITS} bits, {narrow.role} have "
        f"{head.codes_of_part(narrow, USUAL_BITS):.0f} codes. Ranges that differ more than "
        f"{MIXED:.0f} times should be split."
    )


def _joint_bits(workspace: Workspace, book: RangeBook, layer: str) -> int:
    chosen = workspace.config.resolve_layers(book.graph.layers)
    return chosen[layer].activation.bits
