"""The accuracy of the estimates: measured chips beside estimates, and the weights on chip."""

import streamlit as st

from accelerator.interval import describe_machine_trust
from accelerator.validation.compare import RowCheck, check_measured_rows
from analysis.cost.residency import find_residency_step
from figures.cost.measured import measured_scatter
from figures.style.units import format_energy, format_time
from quant.config import QuantConfig
from ui.state.workspace import Workspace
from ui.widgets.figure import show_figure

PJ_PER_J = 1e12


@st.cache_data(show_spinner=False)
def measured_row_checks() -> tuple[RowCheck, ...]:
    """Return the measured rows beside their estimates; the rows are the same for every user."""
    return check_measured_rows()


def residency_note(workspace: Workspace, config: QuantConfig) -> None:
    """Say which weights stay on chip, and at which width the chip holds all weights."""
    if workspace.network is None:
        return
    step = find_residency_step(workspace.network, config, workspace.machine)
    if step is not None:
        st.caption(f":material/memory: {step.residency_sentence()}")


def trust_section(workspace: Workspace) -> None:
    """Show estimates over measurements, and the rows of the present machine with their sources."""
    machine = workspace.machine
    base = machine.name.partition("@")[0]
    st.markdown(describe_machine_trust(machine))
    figure = measured_scatter(measured_row_checks(), base)
    show_figure(figure, "configure.measured")
    rows = [check for check in measured_row_checks() if check.row.machine == base]
    if not rows:
        st.caption("No measurement of a chip stands behind this machine. Fit it to your board.")
        return
    st.dataframe(
        [_measurement_row(check) for check in rows],
        hide_index=True,
        width="stretch",
        alt="Measurements of the machine's chip with sources",
    )


def _measurement_row(check: RowCheck) -> dict[str, str]:
    measured = check.row.measurement
    energy = "" if measured.energy_j is None else format_energy(PJ_PER_J * measured.energy_j)
    latency = "" if measured.latency_s is None else format_time(measured.latency_s)
    return {
        "chip": check.row.chip,
        "network": measured.network,
        "energy": energy,
        "estimated": format_energy(PJ_PER_J * check.energy_j),
        "error": _percent_text(check.energy_error),
        "latency": latency,
        "estimated latency": format_time(check.latency_s),
        "latency error": _percent_text(check.latency_error),
        "use": check.row.use,
        "source": measured.source,
    }


def _percent_text(share: float | None) -> str:
    return "" if share is None else f"{100 * share:+.1f} %"
