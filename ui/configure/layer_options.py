"""A layer of the present configuration explained: the cost and the saving of the layer's bits."""

import pandas as pd
import streamlit as st

from accelerator.machine import Machine
from analysis.cost.workload import Entropies
from analysis.mixed_precision.layer_options import Explanation, Option, explain_layer_bits
from analysis.network import Network
from analysis.sensitivity.sweep import Sensitivity
from figures.configure.layer_options import explain_in_words, loss_text, widths_explained
from quant.config import QuantConfig
from ui.answers.forecast import deepest_sensitivity
from ui.state.workspace import Workspace
from ui.widgets.figure import show_figure
from ui.widgets.markdown import plain


def layer_picker(workspace: Workspace, network: Network) -> str:
    """Let the user pick a layer; the pages share the pick."""
    names = [layer.name for layer in network.graph.layers]
    picked = workspace.picked
    key = f"explain.layer.{network.digest[:8]}.{picked.layer}"
    first = next((x.name for x in network.graph.layers if x.weight is not None), names[0])
    place = names.index(picked.layer if picked.layer in names else first)

    def pick_layer() -> None:
        picked.pick_layer(st.session_state[key])

    chosen: str = st.selectbox(
        "Layer to explain", names, index=place, key=key, on_change=pick_layer
    )
    return chosen


def show_layer_options(
    workspace: Workspace, network: Network, config: QuantConfig, layer: str
) -> None:
    """Tell in words and figures how the bits of a layer change energy, traffic and accuracy."""
    known = deepest_sensitivity(workspace)
    found = _cached_explanation(
        (network.digest, config.to_json(), layer, repr(workspace.machine), _sweep_mark(known)),
        network,
        config,
        workspace.machine,
        known,
        {} if workspace.study is None else workspace.study.weight_entropies,
    )
    for sentence in explain_in_words(found):
        st.markdown(f"- {plain(sentence)}")
    figure = widths_explained(found)
    show_figure(figure, "explain.widths")
    table = layer_option_table(found)
    st.dataframe(
        table,
        hide_index=True,
        width="stretch",
        height=38 + 35 * len(table),
        alt=f"Every width of {layer} and what it would change",
        column_config={
            name: st.column_config.NumberColumn(format=f"%.{digits}f")
            for name, digits in {"energy %": 2, "energy nJ": 1, "latency µs": 2}.items()
        },
    )


@st.cache_data(max_entries=64, show_spinner=False)
def _cached_explanation(
    key: tuple[str, str, str, str, str],
    _network: Network,
    _config: QuantConfig,
    _machine: Machine,
    _known: Sensitivity | None,
    _entropies: Entropies,
) -> Explanation:
    return explain_layer_bits(_network, _config, key[2], _machine, _known, _entropies)


def _sweep_mark(known: Sensitivity | None) -> str:
    """Return a text that differs between two states of a sweep, as a key of the cache."""
    if known is None:
        return ""
    return f"{len(known.scores)} {sum(score.images for score in known.scores)}"


def layer_option_table(found: Explanation) -> pd.DataFrame:
    """Return a row for each width of both sides: the changes, and the loss of the layer alone."""
    total = found.network.energy_pj or 1.0
    return pd.DataFrame([_option_row(option, total) for option in found.options])


def _option_row(option: Option, total_pj: float) -> dict[str, object]:
    change = option.change
    return {
        "side": str(option.side),
        "bits": ("float" if option.bits >= 32 else str(option.bits))
        + (" (now)" if option.present else ""),
        "energy %": 100 * change.energy_pj / total_pj,
        "energy nJ": change.energy_pj / 1e3,
        "latency µs": change.latency_s * 1e6,
        "DRAM bytes": change.dram_bits / 8,
        "on-chip bytes": change.sram_bits / 8,
        "weight bytes": change.weight_bytes,
        "peak bytes": change.peak_bytes,
        "alone": "" if option.score is None else loss_text(option.score),
    }
