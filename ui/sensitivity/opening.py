"""How the page Sensitivity opens: one sentence and one plot for the bits of the experiment."""

import streamlit as st

from analysis.prediction.expected_loss import expected_present_loss
from analysis.sensitivity.sweep import Depth, Sensitivity
from figures.sensitivity.present_bits import present_loss_bars
from quant.config import LayerConfig
from quant.spec import QuantSpec
from ui.state.workspace import Workspace
from ui.widgets.figure import show_figure
from ui.widgets.markdown import plain


def show_opening(workspace: Workspace, found: Sensitivity | None) -> None:
    """Say which layers lose most at the present bits; without measured answers, say that."""
    network, name = workspace.network, workspace.experiment.display_name
    if network is None:
        return
    if found is None or found.depth is Depth.INSTANT:
        st.info(
            f"Nothing has been measured yet of what layers lose under {plain(name)}. Screen the "
            "layers to see it.",
            icon=":material/hourglass_empty:",
        )
        return
    resolved = workspace.config.resolve_layers(network.graph.layers)
    chosen = {name: resolved[name] for name in resolved}
    loss = expected_present_loss(found, chosen, network.chance)
    present = {spec.bits for name in resolved for spec in _quantized_specs(resolved[name])}
    missing = sorted(present - set(found.sweep.bits))
    if loss is None and missing:
        bits = " and ".join(map(str, missing))
        st.info(
            f"{plain(name)} has {bits} bits, which were not asked for: add them to Bits above to "
            "see which layers lose most.",
            icon=":material/hourglass_empty:",
        )
        return
    if loss is None:
        st.caption(_why_no_loss(workspace))
        return
    figure = present_loss_bars(loss, name)
    show_figure(figure, "sensitivity.opening")
    notes = []
    if found.depth is Depth.SCREENING:
        notes.append("Expected from screening; an exact sweep measures it")
    if loss.unknown:
        notes.append(f"{loss.unknown} tensors are not known at their bits: add these bits above")
    if notes:
        st.caption(plain(". ".join(notes) + "."))


def _why_no_loss(workspace: Workspace) -> str:
    """Return a sentence on when the loss of each layer is told."""
    metric = None if workspace.parts is None else workspace.parts.metric
    if metric is not None:
        return (
            f"What each layer loses in {plain(metric.name)} at the present bits is told by an "
            "exact sweep of layers quantized alone; screening tells the noise at the output."
        )
    return (
        "What each layer loses at the present bits is told where layers are quantized alone "
        "and the network answers with classes."
    )


def _quantized_specs(config: LayerConfig) -> list[QuantSpec]:
    """Return the specs of a layer that are not float."""
    return [spec for spec in (config.weight, config.activation) if not spec.is_float]
