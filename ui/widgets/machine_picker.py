"""The choice of a machine, and the upload of a machine."""

from collections.abc import Sequence

import streamlit as st

from accelerator.machine import parse_machine, preset_names
from accelerator.report import CostReport, LayerCost
from figures.cost.wording import energy_text
from ui.state.workspace import Workspace, find_machine
from ui.widgets.markdown import plain


def machine_picker(workspace: Workspace, place: str) -> None:
    """Show the machines to choose from; the choice counts for all pages."""
    names = machine_names(workspace)
    key = f"{place}.machine.{workspace.machine.name}"

    def choose_selected() -> None:
        choose_machine(workspace, st.session_state[key])

    st.selectbox(
        "Machine",
        names,
        index=names.index(workspace.machine.name),
        key=key,
        on_change=choose_selected,
        format_func=lambda name: find_machine(workspace, name).title,
        help="The accelerator whose energy, latency and memory are estimated",
    )


def machine_names(workspace: Workspace) -> list[str]:
    """Return the names of the machines to choose from.

    The present machine may have come with a run or from the last visit; it stays to choose from.
    """
    present = workspace.machine
    if present.name not in preset_names():
        workspace.machines.setdefault(present.name, present)
    return list(dict.fromkeys((*preset_names(), *workspace.machines)))


def machine_energy_note(workspace: Workspace, report: CostReport) -> None:
    """Tell the error of the machine's energy against chips, and warn of placeholder energies."""
    st.caption(f":material/straighten: Energy {energy_text(report)}.")
    if workspace.machine.illustrative:
        st.caption(
            ":material/info: Illustrative: the maker never published this machine's energies; "
            "they are placeholders, so compare configurations and not machines."
        )


def machine_widths_note(workspace: Workspace, report: CostReport) -> None:
    """Tell the number of layers with computed widths other than the requested widths."""
    products = [layer for layer in report.layers if layer.macs]
    host = [layer for layer in products if layer.on_host]
    several = [layer for layer in products if layer.passes > 1 and not layer.on_host]
    wider = [
        layer
        for layer in products
        if layer.passes == 1
        and not layer.on_host
        and (layer.requested_weight_bits, layer.requested_activation_bits)
        != (layer.compute_weight_bits, layer.compute_activation_bits)
    ]
    sentences = {
        "computes {} at other widths than requested; see “Computed as”. "
        "Fewer bits then save storage and traffic at most.": wider,
        "needs several passes for {}: its multipliers are narrower than what was asked, "
        "and every pass costs cycles and energy.": several,
        "cannot compute {} as asked; their cost is a rough stand-in.": host,
    }
    said = [
        f"{workspace.machine.title} {words.format(_layer_count_text(found))}"
        for words, found in sentences.items()
        if found
    ]
    if said:
        st.warning(" ".join(said), icon=":material/rule:")


def _layer_count_text(found: Sequence[LayerCost]) -> str:
    return "1 layer" if len(found) == 1 else f"{len(found)} layers"


def choose_machine(workspace: Workspace, name: str) -> None:
    """Make a machine the present machine."""
    workspace.set_machine(find_machine(workspace, name))


def bring_machine(workspace: Workspace) -> None:
    """Offer the upload of a machine file, and show where the present one's numbers come from."""
    uploaded = st.file_uploader("Your own machine (TOML)", type="toml", key="machine.upload")
    if uploaded is not None and st.button("Use this machine", key="machine.use"):
        try:
            machine = parse_machine(uploaded.getvalue().decode())
        except ValueError as error:  # a UnicodeDecodeError is one too
            st.error(plain(str(error)))
            return
        workspace.add_machine(machine)
        st.rerun()
    st.dataframe(
        [{"number": key, "source": source} for key, source in workspace.machine.sources],
        hide_index=True,
        width="stretch",
        height=260,
        alt="Numbers of the machine and sources",
    )
