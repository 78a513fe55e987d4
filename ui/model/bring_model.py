"""Choosing a sample or bringing a model: the form, the error beside it, the shape where open."""

import uuid

import streamlit as st

from figures.style.units import format_share
from model_io.errors import ModelError, OpenShapeError
from sample_models.registry import SAMPLES, Sample
from ui.model.load_network import start_loading
from ui.model.upload import Upload
from ui.request_guard import paths_open
from ui.state.model_and_data import ModelChoice
from ui.state.model_load import ModelLoad
from ui.state.workspace import Workspace
from ui.widgets.code_question import run_if_allowed, show_code_question
from ui.widgets.markdown import plain
from ui.widgets.problem import show_problem

CARDS_A_ROW = 3
BUILDER_QUESTION = "model.code"
SHAPE_HELP = (
    "Channels, height, width of one input, without the batch. Of several inputs by name: "
    "image=3,224,224; ids=int:16"
)


def sample_cards(workspace: Workspace) -> None:
    """Show the sample models with the lesson of each sample."""
    samples = list(SAMPLES.values())
    for first in range(0, len(samples), CARDS_A_ROW):
        columns = st.columns(CARDS_A_ROW)
        for column, sample in zip(columns, samples[first : first + CARDS_A_ROW], strict=False):
            with column.container(border=True, height="stretch", vertical_alignment="distribute"):
                _sample_card(workspace, sample)


def _sample_card(workspace: Workspace, sample: Sample) -> None:
    with st.container():
        st.markdown(f"**{sample.title}**")
        st.caption(sample.teaches)
        st.caption(
            f"Float {plain(sample.metric_name)} {format_share(sample.float_score)}",
            help=f"On {sample.cited_from}. Licence: {sample.licence}.",
        )
    current = workspace.model.source == sample.name
    st.button(
        "In use" if current else "Use",
        key=f"model.use.{sample.name}",
        disabled=current,
        on_click=start_loading,
        args=(workspace, ModelChoice(sample.name)),
        width="stretch",
    )


def bring_model(workspace: Workspace) -> None:
    """Offer an upload and, if the settings allow paths, a path; show errors beside the fields."""
    load = workspace.load if workspace.load is not None and workspace.load.failed else None
    opened = workspace.network is None or load is not None
    with st.expander("Bring your own model", icon=":material/upload_file:", expanded=opened):
        _model_form(workspace)
    show_code_question(workspace, BUILDER_QUESTION)
    if load is not None:
        _tell_failure(workspace, load)


def _model_form(workspace: Workspace) -> None:
    """Show the fields of an upload and of a path, and load the named model."""
    limit, open_paths = workspace.settings.upload_mib, paths_open(workspace.settings)
    uploaded = st.file_uploader(
        f"A network saved with torch.export.save (.pt2) or as .onnx, at most {limit} MiB",
        key="model.upload",
        max_upload_size=limit,
        help="Checked before it is opened: a file that would run code is refused.",
    )
    if uploaded is not None and st.button("Load this file", key="model.load", type="primary"):
        _load_choice(workspace, _stored_upload(workspace, uploaded))
    if open_paths:
        st.caption(f"A file over {limit} MiB is not uploaded: name its path here instead.")
        _path_form(workspace)
    else:
        st.caption(
            "Paths on the server are closed here, since the server is shared. For a file over "
            f"{limit} MiB, ask whoever runs the server for a larger server.maxUploadSize."
        )


def _path_form(workspace: Workspace) -> None:
    with st.form("model.path", border=False):
        first, second = st.columns(2)
        path = first.text_input(
            "A path on this machine",
            key="model.path.text",
            placeholder="/models/net.pt2, net.onnx or weights.safetensors",
        ).strip()
        builder = second.text_input(
            "Builder, for safetensors weights alone",
            key="model.path.builder",
            placeholder="/models/net.py:build",
            help="A Python function that makes the network. It is code and runs when you load.",
        ).strip()
        if st.form_submit_button("Load from path", icon=":material/folder_open:"):
            choice = ModelChoice(path, builder or None)
            run_if_allowed(
                workspace, BUILDER_QUESTION, choice.builder, lambda: _load_choice(workspace, choice)
            )


def _load_choice(workspace: Workspace, choice: ModelChoice) -> None:
    start_loading(workspace, choice)
    st.rerun()


def _stored_upload(workspace: Workspace, uploaded: Upload) -> ModelChoice:
    """Return the choice of an uploaded file, written into the workspace's own folder."""
    path = workspace.folder / f"{uuid.uuid4().hex}.upload"
    path.write_bytes(uploaded.getbuffer())
    return ModelChoice(str(path), shown=uploaded.name)


def _tell_failure(workspace: Workspace, load: ModelLoad) -> None:
    """Say why a model was not loaded; ask for the shape of an input with an open shape."""
    problem = load.job.problem
    with st.container(border=True):
        show_problem(workspace, load.job.title, problem)
        if not isinstance(problem, OpenShapeError) and not load.choice.wish:
            return
        proposal = problem.proposal if isinstance(problem, OpenShapeError) else ""
        shape = st.text_input(
            "Shape of one input",
            _said_shape(load.choice) or proposal,
            key="model.shape",
            help=SHAPE_HELP,
        )
        if not st.button("Load with this shape", key="model.shape.load", type="primary"):
            return
        try:
            asked = load.choice.with_shapes(shape)
        except ModelError as error:
            st.error(plain(str(error)))
            return
        _load_choice(workspace, asked)


def _said_shape(choice: ModelChoice) -> str:
    return choice.inputs or ", ".join(map(str, choice.input_shape))
