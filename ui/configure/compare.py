"""The present configuration against a second configuration, layer by layer."""

import pandas as pd
import streamlit as st

from analysis.cost.compare_configs import ConfigDiff, LayerChange, describe_diff, diff_configs
from analysis.cost.workload import Entropies
from analysis.network import Network
from figures.configure.compare import moved_energy, transition_matrix
from quant.config import QuantConfig, config_from_dict
from ui.configure.presets import PRESETS
from ui.state.workspace import Workspace
from ui.widgets.csv_text import csv_text
from ui.widgets.figure import show_figure
from ui.widgets.markdown import plain

LAST = "Before the last change"
MOST_RUNS = 30


def comparable_configs(workspace: Workspace, network: Network) -> dict[str, QuantConfig]:
    """Return the configurations for a comparison with the present configuration, by name.

    The presets, the configuration before the last change, and the configurations of runs of the
    present model.
    """
    found = dict(PRESETS)
    before = [one for one in workspace.experiments.past if one.config != workspace.config]
    if before:
        found = {LAST: before[-1].config, **found}
    runs = [run for run in workspace.store.all_runs() if run.model_digest == network.digest]
    for run in runs[:MOST_RUNS]:
        found.setdefault(f"Run {run.name}", config_from_dict(run.config))
    return found


def show_config_diff(
    workspace: Workspace, network: Network, against: QuantConfig, config: QuantConfig
) -> None:
    """Show the changes from `against` to `config`: in words, as figures, and as a table."""
    diff = diff_configs(network, against, config, workspace.machine, _present_entropies(workspace))
    for sentence in describe_diff(diff):
        st.markdown(f"- {plain(sentence)}")
    if not diff.changed_layers:
        return
    figures = [transition_matrix(diff), *([moved_energy(diff)] if diff.moved_pj else [])]
    for number, figure in enumerate(figures):
        show_figure(figure, f"diff.{number}")
    table = diff_table(diff)
    st.dataframe(
        table,
        hide_index=True,
        width="stretch",
        height=min(38 + 35 * len(table), 400),
        alt="Layers that change, or whose energy does",
        column_config={
            name: st.column_config.NumberColumn(format="%.3f")
            for name in ("energy before nJ", "energy after nJ", "moved nJ")
        },
    )
    st.download_button(
        "Difference as CSV",
        csv_text(table),
        "difference.csv",
        "text/csv",
        icon=":material/download:",
    )


def _present_entropies(workspace: Workspace) -> Entropies:
    return {} if workspace.study is None else workspace.study.weight_entropies


def diff_picker(workspace: Workspace, network: Network, config: QuantConfig) -> None:
    """Let the user choose a configuration to compare with `config`, and show the difference."""
    found = comparable_configs(workspace, network)
    name = st.selectbox(
        "Compare with",
        list(found),
        key="diff.against",
        help="Any preset, what stood before the last change, or the configuration of a run",
    )
    show_config_diff(workspace, network, found[name], config)


def diff_table(diff: ConfigDiff) -> pd.DataFrame:
    """Return a row for a layer with a changed choice or energy, the largest change first."""
    rows = [row for row in diff.layers if row.own or abs(row.moved_pj) > 0]
    rows.sort(key=lambda row: -abs(row.moved_pj))
    return pd.DataFrame(
        [
            {
                "layer": row.layer,
                "W bits": _bits_arrow(row.weight_bits_before, row.weight_bits_after),
                "A bits": _bits_arrow(row.output_bits_before, row.output_bits_after),
                "energy before nJ": row.energy_before.total_pj / 1e3,
                "energy after nJ": row.energy_after.total_pj / 1e3,
                "moved nJ": row.moved_pj / 1e3,
                "DRAM bytes moved": (row.dram_bits_after - row.dram_bits_before) / 8,
                "remark": _change_remark(row),
            }
            for row in rows
        ]
    )


def _change_remark(row: LayerChange) -> str:
    if row.also:
        return "also: " + ", ".join(row.also)
    return "" if row.own else "its own choice stays"


def _bits_arrow(before: int | None, after: int | None) -> str:
    if before is None or after is None:
        return ""
    return str(after) if before == after else f"{before} → {after}"
