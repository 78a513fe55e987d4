"""Choosing or bringing data."""

import shutil
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

import streamlit as st

from analysis.network import Network
from analysis.split import wanted_inputs
from data_io.bundled import BUNDLED_DATA
from quant.errors import QuantError
from ui.model.input_preview import preview_inputs
from ui.model.preprocess_form import preprocess_form
from ui.model.table_form import table_form
from ui.model.task_form import targets_fields, write_uploaded_targets
from ui.model.upload import Upload
from ui.request_guard import paths_open
from ui.settings import MIB
from ui.state.model_and_data import DataChoice, default_data, is_bundled_data
from ui.state.workspace import Workspace
from ui.widgets.markdown import plain

UPLOADED_IMAGES = "images"


def bring_data(workspace: Workspace) -> None:
    """Offer the bundled data, an upload, a path, and the preprocessing form."""
    choice, place = workspace.data, f"data.{workspace.data_choices}"
    first = default_data(workspace.model, workspace.network) if workspace.network else choice
    if own := BUNDLED_DATA.get(first.source or ""):
        st.button(
            f"Use the bundled {plain(own.title)}",
            key="data.bundled",
            disabled=choice.source == first.source,
            on_click=workspace.take_data,
            args=(first,),
        )
    wanted = () if workspace.network is None else wanted_inputs(workspace.network.graph)
    table = takes_table_rows(workspace.network)
    images = [] if wanted or table else _folder_field(place)
    names = ", ".join(one.name for one in wanted)
    arrays = st.file_uploader(
        f"An .npz file with an array for each input ({plain(names)}) and, if known, labels"
        if wanted
        else "A .csv table, or an .npz file with inputs and, if known, labels"
        if table
        else "Or an .npz file with inputs and, if known, labels",
        type=["csv", "npz"] if table else "npz",
        key=f"{place}.npz",
        help="labels (N,) are classes; targets, or targets.NAME, are for a metric of your own.",
    )
    source = _upload_writer(workspace, images, arrays)
    path = ""
    if paths_open(workspace.settings):
        path = st.text_input(
            "Or a path on this machine",
            _own_data_path(workspace),
            key=f"{place}.path",
            placeholder="/data/rows.csv" if table else "/data/imagenet-sample or /data/images.npz",
        ).strip()
    pixels = not wanted or any(one.real and len(one.shape) == 3 for one in wanted)
    typed, targets = ("", []) if wanted or table else targets_fields(workspace, place)
    rows = table_form(choice.preprocess, place) if table else None
    preprocess = preprocess_form(choice.preprocess, place) if pixels and not table else ""
    if preprocess and not table:
        preview_inputs(workspace, preprocess)
    calibration, samples, seed = _count_fields(choice, place, "row" if table else "image")
    if st.button("Use this data", key="data.use", type="primary", icon=":material/check:"):
        try:
            chosen = source() or path or choice.source
            labels = write_uploaded_targets(workspace, targets) or typed
            if rows is not None:
                preprocess = rows.preprocess_for_table(chosen or "")
        except (ValueError, OSError) as error:
            st.error(plain(str(error)))
            return
        with st.spinner("Reading the data…"):
            workspace.take_data(
                DataChoice(chosen, preprocess, calibration, samples, seed, targets=labels)
            )
        if workspace.data_problem:  # told above the form, which may be out of sight
            workspace.notes.append(f"The data were not taken. {plain(workspace.data_problem)}")
        st.rerun()


def _folder_field(place: str) -> Sequence[Upload]:
    """Offer the upload of a folder; return the files of the folder."""
    return st.file_uploader(
        "A folder of images, one sub-folder a class",
        accept_multiple_files="directory",
        key=f"{place}.folder",
        help="classes.txt in it gives the order of the model's outputs; without it, "
        "alphabetical. A folder without sub-folders holds images without labels.",
    )


def _count_fields(choice: DataChoice, place: str, noun: str) -> tuple[int, int, int]:
    """Show how many items calibrate and score, and the seed; return the three."""
    first, second, third = st.columns(3)
    calibration = first.number_input(
        f"{noun.capitalize()}s to calibrate with",
        8,
        4096,
        choice.calibration,
        key=f"{place}.calibration",
        help=f"Drawn at random and kept apart from the {noun}s that are scored",
    )
    samples = second.number_input(
        f"{noun.capitalize()}s to score (0: all)",
        0,
        1_000_000,
        choice.samples,
        key=f"{place}.samples",
    )
    seed = third.number_input("Seed of the choice", 0, 2**31 - 1, choice.seed, key=f"{place}.seed")
    return int(calibration), int(samples), int(seed)


def takes_table_rows(network: Network | None) -> bool:
    """Whether a network takes rows of a table."""
    return network is not None and network.noun == "row"


def _upload_writer(
    workspace: Workspace, images: Sequence[Upload], arrays: Upload | None
) -> Callable[[], str]:
    """Return a function that writes the upload and returns its path; "" without an upload."""

    def write_upload() -> str:
        if arrays is not None:
            target = workspace.folder / uuid.uuid4().hex / Path(arrays.name).name
            target.parent.mkdir()
            target.write_bytes(arrays.getbuffer())
            return str(target)
        return write_uploaded_images(workspace, images) if images else ""

    return write_upload


def write_uploaded_images(workspace: Workspace, images: Sequence[Upload]) -> str:
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
