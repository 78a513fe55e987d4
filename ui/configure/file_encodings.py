"""A file's quantization: offered as configuration, said to be in use, opened from an upload."""

from dataclasses import replace

import streamlit as st

from accelerator.machine import preset_names
from analysis.network import Network
from analysis.runs.experiment_file import (
    is_experiment_json,
    read_experiment_json,
    write_experiment_json,
)
from model_io.encodings.aimet_read import is_encodings_text
from model_io.encodings.apply_to_network import read_network_encodings
from quant.config import config_from_file, config_to_file
from quant.file_encodings import Given
from ui.state.edit_config import change_experiment, set_preset
from ui.state.snapshot import experiment_with_encodings
from ui.state.workspace import Workspace
from ui.widgets.markdown import plain


def use_file_encodings(workspace: Workspace, given: Given) -> None:
    """Take the bits of a file into the configuration, and its scales into the simulation."""
    experiment = workspace.experiment.with_recipe(()).with_config(given.config)
    change_experiment(workspace, replace(experiment, encodings=given, given_name=""))


def offer_own_encodings(workspace: Workspace, network: Network) -> None:
    """Offer the encodings of the model's own file; list the covered and the uncovered tensors."""
    given = network.given
    if given is None:
        return
    used = workspace.experiment.encodings is given and workspace.experiment.uses_encodings
    st.markdown("**The file was quantized already.**")
    _list_sentences(given)
    st.button(
        "In use as configuration" if used else "Use the file's quantization as configuration",
        key="model.given",
        icon=":material/grid_on:",
        disabled=used,
        on_click=use_file_encodings,
        args=(workspace, given),
        help="Its bits become the rules, its scales the encodings of the simulation",
    )


def encodings_note(workspace: Workspace) -> None:
    """Say that the ranges come from a file, if so, and offer to calibrate instead."""
    given = workspace.experiment.encodings
    if given is None:
        return
    with st.expander(f"Ranges come from {plain(given.source)}", icon=":material/grid_on:"):
        _list_sentences(given)
        st.caption(
            "Layers whose bits or granularity you change are calibrated again. Sensitivity and "
            "Ranges always calibrate: they ask what other bits would do."
        )
        st.button(
            "Calibrate all ranges instead",
            key="configure.calibrate",
            on_click=lambda: workspace.change(workspace.experiment.with_calibrated_ranges()),
        )


def _list_sentences(given: Given) -> None:
    for sentence in given.sentences():
        st.markdown(f"- {plain(sentence)}")


def config_file_box(workspace: Workspace, network: Network) -> None:
    """Offer the download of the experiment and of the configuration, and the upload of a file."""
    layers = network.graph.layers
    experiment = workspace.experiment
    st.download_button(
        "Experiment as JSON",
        write_experiment_json(experiment),
        f"{experiment.display_name}.experiment.json",
        "application/json",
        icon=":material/science:",
        key="configure.experiment",
        help="Configuration, repairs and machine: for --experiment, or to open here again",
    )
    st.download_button(
        "Configuration as JSON",
        config_to_file(workspace.config, layers),
        f"{workspace.experiment.display_name}.json",
        "application/json",
        icon=":material/download:",
        key="configure.download",
        help="Each rule with the number of layers that it matches",
    )
    uploaded = st.file_uploader(
        "Open an experiment, a configuration or AIMET encodings",
        type=["json", "encodings"],
        key="configure.open",
        help="Encodings of version 2.0.0, 1.0.0 or 0.6.1, by the tensor names of the model's ONNX "
        "file or by our layers' names: their scales become the encodings of the simulation",
    )
    if uploaded is None or not st.button("Use this file", key="configure.use"):
        return
    text = uploaded.getvalue().decode(errors="replace")
    try:
        if is_experiment_json(text):
            open_experiment_text(workspace, network, text)
        elif is_encodings_text(text):
            use_file_encodings(workspace, read_network_encodings(text, network, uploaded.name))
        else:
            config, notes = config_from_file(text, layers)
            set_preset(workspace, config, uploaded.name.removesuffix(".json"))
            workspace.notes.extend(map(plain, notes))
    except ValueError as error:
        st.error(plain(str(error)))
        return
    st.rerun()


def open_experiment_text(workspace: Workspace, network: Network, text: str) -> None:
    """Make the experiment in JSON text the present experiment, with repairs, machine and name.

    Raises:
        ValueError: the text is no experiment, or the encodings belong to a different network.
    """
    experiment = experiment_with_encodings(
        read_experiment_json(text, trainings=workspace.trainings), network
    )
    if experiment.model_digest not in ("", network.digest):
        workspace.notes.append("The experiment was made for another network; check its rules.")
    if experiment.machine.name not in preset_names():
        workspace.machines[experiment.machine.name] = experiment.machine
    change_experiment(workspace, experiment)
