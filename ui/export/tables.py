"""The tables of the app as CSV: layers and their configuration, cost, sensitivity, runs."""

import io
import zipfile
from collections.abc import Callable, Mapping
from functools import partial

import pandas as pd
import streamlit as st

from quant.simulation.plan import Side, plan_sites
from ui.export.jobs import ExportRequest
from ui.sensitivity.tables import answer_table
from ui.state.workspace import Workspace
from ui.widgets.csv_text import csv_text
from ui.widgets.tables import config_table, effective_width_table, layer_table, run_table

_NAMES = {
    "layers": "Layers",
    "configuration": "Configuration by layer",
    "cost": "Cost by layer",
    "sensitivity": "Sensitivity",
    "runs": "Runs",
}


def table_makers(
    workspace: Workspace, wish: ExportRequest
) -> dict[str, Callable[[], pd.DataFrame]]:
    """Return the functions that make the available tables, by name."""
    network, config = wish.network, wish.config

    def configuration_table() -> pd.DataFrame:
        sites = plan_sites(network.graph, config)
        shared = {
            site.layer: site.shared_with
            for site in sites
            if site.side is Side.ACTIVATIONS and site.shared_with
        }
        chosen = config.resolve_layers(network.graph.layers)
        rows = config_table(network.graph.layers, chosen, wish.report, shared)
        return rows.drop(columns="select").rename(columns={"energy": "energy %"})

    found: dict[str, Callable[[], pd.DataFrame]] = {
        "layers": lambda: layer_table(network),
        "configuration": configuration_table,
        "cost": lambda: effective_width_table(wish.report),
    }
    sensitivity = wish.sensitivity
    if sensitivity is not None:
        found["sensitivity"] = lambda: answer_table(sensitivity)
    runs = workspace.store.all_runs()
    if runs:
        found["runs"] = lambda: run_table(runs)
    return found


def csv_table_box(workspace: Workspace, wish: ExportRequest) -> None:
    """Offer the tables as single files, and together as a zip."""
    found = table_makers(workspace, wish)
    row = st.container(horizontal=True)
    for name, make in found.items():
        row.download_button(
            _NAMES[name],
            data=partial(_table_csv, make),
            file_name=f"{wish.file_stem}.{name}.csv",
            mime="text/csv",
            key=f"export.csv.{name}",
            icon=":material/table:",
        )
    row.download_button(
        "All as a zip",
        data=lambda: zip_tables({n: make() for n, make in found.items()}),
        file_name=f"{wish.file_stem}.tables.zip",
        mime="application/zip",
        key="export.csv.all",
        icon=":material/folder_zip:",
    )
    missing = [_NAMES[name].lower() for name in _NAMES if name not in found]
    if missing:
        st.caption(f"Nothing yet of: {', '.join(missing)}.")


def _table_csv(make: Callable[[], pd.DataFrame]) -> str:
    return csv_text(make())


def zip_tables(made: Mapping[str, pd.DataFrame]) -> bytes:
    """Return tables as CSV files in a zip."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, table in made.items():
            archive.writestr(f"{name}.csv", csv_text(table))
    return held.getvalue()
