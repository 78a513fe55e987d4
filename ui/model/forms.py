"""Choosing or bringing a model and data."""

import shutil
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import streamlit as st

from analysis.network import Network
from analysis.split import wanted_inputs
from data_io.bundled import BUNDLED_DATA
from figures.style.units import format_share
from model_io.digest import file_digest
from model_io.errors import ModelError
from quant.errors import QuantError
from quant.progress import Steps
from sample_models.registry import SAMPLES, Sample
from ui.job_kind import JobKind
from ui.jobs import Job
from ui.model.preprocess_form import preprocess_form
from ui.model.table_form import table_form
from ui.request_guard import paths_open
from ui.settings import MIB
from ui.state.code_consent import needs_consent
from ui.state.model_and_data import (
    DataChoice,
    ModelChoice,
    default_data,
    is_bundled_data,
    load_chosen_network,
)
from ui.state.workspace import FirstData, Workspace, first_data
from ui.widgets.code_question import run_if_allowed, show_code_question
from ui.widgets.markdown import plain

UPLOADED_IMAGES = "images"
CARDS_A_ROW = 3
BUILDER_QUESTION = "model.code"


def start_loading(workspace: Workspace, choice: ModelChoice) -> None:
    """Load a model beside the page; the present one stays until the new one is ready."""
    if choice.builder and needs_consent(workspace.store, choice.builder):
        raise QuantError(
            f"Code must be agreed to before it runs; got {choice.builder}, which nobody agreed to. "
            "Load the model on Model."
        )
    title = f"Loading {choice.shown or choice.source}"
    known = with_known_shapes(workspace, choice)

    def load_steps() -> Steps[tuple[Network, FirstData]]:
        network = yield from load_chosen_network(known)
        return network, first_data(known, network)

    def take_model(found: tuple[Network, FirstData]) -> None:
        remember_shapes(workspace, known)
        workspace.take_network(known, *found)

    workspace.runner.submit(Job(JobKind.LOAD_MODEL, title, load_steps, take_model))


def with_known_shapes(workspace: Workspace, choice: ModelChoice) -> ModelChoice:
    """Return a choice with what a person once said of the inputs of this very file."""
    question = _inputs_question(choice)
    said = workspace.store.find_answer(question) if question and not choice.wish else None
    return choice.with_shapes(said) if isinstance(said, str) else choice


def remember_shapes(workspace: Workspace, choice: ModelChoice) -> None:
    """Keep what a person said of the inputs of a file, so that it is asked for once."""
    question = _inputs_question(choice)
    if question and choice.wish:
        said = choice.inputs or ",".join(map(str, choice.input_shape))
        workspace.store.keep_answer(question, said)


def _inputs_question(choice: ModelChoice) -> str:
    path = Path(choice.source)
    if choice.source in SAMPLES or not path.is_file():
        return ""
    return f"inputs of {file_digest(path)} {choice.builder or ''}"


def sample_cards(workspace: Workspace) -> None:
    """Show the sample models, each with what it teaches."""
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
            f"Float top-1 {format_share(sample.float_top1)}",
            help=f"On {sample.cited_from}. Licence: {sample.licence}.",
        )
    current = workspace.model.source == sample.name
    st.button(
        "In use" if current else "Use", key=f"model.use.{sample.name}", disabled=current,
        on_click=start_loading, args=(workspace, ModelChoice(sample.name)), width="stretch",
    )  # fmt: skip


def bring_model(workspace: Workspace) -> None:
    """Offer an upload, and a path on this machine where the settings allow it."""
    limit = workspace.settings.upload_mib
    uploaded = st.file_uploader(
        f"A network saved with torch.export.save (.pt2) or as .onnx, at most {limit} MiB",
        key="model.upload", max_upload_size=limit,
        help="Checked before it is opened: a file that would run code is refused.",
    )  # fmt: skip
    if uploaded is not None:
        _load_upload(workspace, uploaded)
    if not paths_open(workspace.settings):
        st.caption("Paths on the server are closed here, since the server is shared.")
        return
    with st.form("model.path", border=False):
        path_column, builder_column, shape_column = st.columns([3, 3, 2])
        path_text = path_column.text_input(
            "Or a path on this machine", key="model.path.text",
            placeholder="/models/net.pt2, net.onnx or weights.safetensors",
        )  # fmt: skip
        builder = builder_column.text_input(
            "Builder for safetensors weights", key="model.path.builder",
            placeholder="/models/net.py:build",
            help="A Python function that makes the network. It is code and runs when you load.",
        )  # fmt: skip
        shape = shape_column.text_input(
            "Shape of one input", key="model.path.shape", placeholder="3, 224, 224",
            help="Channels, height, width; for weights alone and ONNX files that leave sizes open. "
            "Of several inputs by name: image=3,224,224; ids=int:16",
        )  # fmt: skip
        if st.form_submit_button("Load from path", icon=":material/folder_open:"):
            try:
                choice = ModelChoice(path_text.strip(), builder.strip() or None).with_shapes(shape)
            except ModelError as error:
                st.error(plain(str(error)))
                return
            run_if_allowed(
                workspace, BUILDER_QUESTION, choice.builder, lambda: _load_path(workspace, choice)
            )
    show_code_question(workspace, BUILDER_QUESTION)


def _load_path(workspace: Workspace, choice: ModelChoice) -> None:
    start_loading(workspace, choice)
    st.rerun()


def _load_upload(workspace: Workspace, uploaded: Any) -> None:
    """Ask for the input's shape where an ONNX file may leave it open, and load."""
    shape = ""
    if uploaded.name.lower().endswith(".onnx"):
        shape = st.text_input(
            "Shape of one input, where the file leaves it open", key="model.upload.shape",
            placeholder="3, 224, 224", help="Of several by name: image=3,224,224; ids=int:16",
        )  # fmt: skip
    if not st.button("Load this file", key="model.upload.load"):
        return
    try:
        asked = ModelChoice(shown=uploaded.name).with_shapes(shape)
    except ModelError as error:
        st.error(plain(str(error)))
        return
    path = workspace.folder / f"{uuid.uuid4().hex}.upload"
    path.write_bytes(uploaded.getbuffer())
    start_loading(workspace, replace(asked, source=str(path)))
    st.rerun()


def bring_data(workspace: Workspace) -> None:
    """Offer the bundled data, an upload, a path, and the preprocessing form."""
    choice, place = workspace.data, f"data.{workspace.data_choices}"
    first = default_data(workspace.model, workspace.network) if workspace.network else choice
    if own := BUNDLED_DATA.get(first.source or ""):
        st.button(
            f"Use the bundled {plain(own.title)}", key="data.bundled",
            disabled=choice.source == first.source, on_click=workspace.take_data, args=(first,),
        )  # fmt: skip
    wanted = () if workspace.network is None else wanted_inputs(workspace.network.graph)
    table = takes_table_rows(workspace.network)
    images = [] if wanted or table else st.file_uploader(
        "A folder of images, one sub-folder a class",
        accept_multiple_files="directory", key=f"{place}.folder",
        help="classes.txt in it gives the order of the model's outputs; without it, alphabetical. "
        "A folder without sub-folders holds images without labels.",
    )  # fmt: skip
    names = ", ".join(one.name for one in wanted)
    arrays = st.file_uploader(
        f"An .npz file with an array for each input ({plain(names)}) and, if known, labels"
        if wanted
        else "A .csv table, or an .npz file with inputs and, if known, labels"
        if table
        else "Or an .npz file with inputs and, if known, labels",
        type=["csv", "npz"] if table else "npz", key=f"{place}.npz",
        help="labels (N,) are classes; targets, or targets.NAME, are for a metric of your own.",
    )  # fmt: skip
    source = _upload_writer(workspace, images, arrays)
    path = ""
    if paths_open(workspace.settings):
        path = st.text_input(
            "Or a path on this machine", _own_data_path(workspace), key=f"{place}.path",
            placeholder="/data/rows.csv" if table else "/data/imagenet-sample or /data/images.npz",
        ).strip()  # fmt: skip
    pixels = not wanted or any(one.real and len(one.shape) == 3 for one in wanted)
    rows = table_form(choice.preprocess, place) if table else None
    preprocess = preprocess_form(choice.preprocess, place) if pixels and not table else ""
    calibration, samples, seed = _count_fields(choice, place)
    if st.button("Use this data", key="data.use", type="primary", icon=":material/check:"):
        try:
            chosen = source() or path or choice.source
            if rows is not None:
                preprocess = rows.preprocess_for_table(chosen or "")
        except (ValueError, OSError) as error:
            st.error(plain(str(error)))
            return
        with st.spinner("Reading the images…"):
            workspace.take_data(DataChoice(chosen, preprocess, calibration, samples, seed))
        st.rerun()


def _count_fields(choice: DataChoice, place: str) -> tuple[int, int, int]:
    """Show how many items calibrate and score, and the seed; return the three."""
    first, second, third = st.columns(3)
    calibration = first.number_input(
        "Images to calibrate with", 8, 4096, choice.calibration, key=f"{place}.calibration",
        help="Drawn at random and kept apart from the images that are scored",
    )  # fmt: skip
    samples = second.number_input(
        "Images to score (0: all)", 0, 1_000_000, choice.samples, key=f"{place}.samples"
    )
    seed = third.number_input("Seed of the choice", 0, 2**31 - 1, choice.seed, key=f"{place}.seed")
    return int(calibration), int(samples), int(seed)


def takes_table_rows(network: Network | None) -> bool:
    """Whether a network takes rows of a table: one input of real numbers along one axis."""
    if network is None or len(network.graph.inputs) != 1:
        return False
    (only,) = network.graph.inputs
    return only.real and len(only.shape) == 1


def _upload_writer(workspace: Workspace, images: list[Any], arrays: Any) -> Any:
    """Return a function that writes the upload, if there is one, and gives its path."""

    def write_upload() -> str:
        if arrays is not None:
            target = workspace.folder / uuid.uuid4().hex / Path(arrays.name).name
            target.parent.mkdir()
            target.write_bytes(arrays.getbuffer())
            return str(target)
        return write_uploaded_images(workspace, images) if images else ""

    return write_upload


def write_uploaded_images(workspace: Workspace, images: list[Any]) -> str:
    """Write an uploaded folder into the workspace's own; return where its classes start.

    Raises:
        QuantError: the images together are larger than an upload may be.
    """
    limit = workspace.settings.upload_mib * MIB
    total = sum(image.size for image in images)
    if total > limit:
        raise QuantError(
            f"An upload must be at most {limit // MIB} MiB; this folder has {total // MIB} MiB. "
            "Upload a part of it, or start the server with a larger server.maxUploadSize."
        )
    root = workspace.folder / UPLOADED_IMAGES
    shutil.rmtree(root, ignore_errors=True)
    for image in images:
        # names come from the browser: nothing of them may lead out of the folder
        parts = [p for p in Path(image.name.replace("\\", "/")).parts if p not in ("..", "/", ".")]
        if not parts:
            continue
        target = root.joinpath(*parts)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(image.getbuffer())
    inside = list(root.iterdir())
    return str(inside[0] if len(inside) == 1 and inside[0].is_dir() else root)


def _own_data_path(workspace: Workspace) -> str:
    """Return the path of the present data, where the person named one."""
    source = workspace.data.source
    if source is None or is_bundled_data(source) or Path(source).is_relative_to(workspace.folder):
        return ""
    return source
