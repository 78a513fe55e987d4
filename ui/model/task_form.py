"""The task of the network on the data: its metric, a detector's head, and where targets lie."""

import hashlib
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from analysis.evaluation.tasks.kinds import Head, TaskKind
from ui.model.upload import Upload
from ui.request_guard import paths_open
from ui.state.model_and_data import is_bundled_data
from ui.state.workspace import Workspace
from ui.widgets.markdown import plain

HEAD_NAMES = {
    Head.AUTO: "recognised from the outputs",
    Head.DECODED: "boxes, scores and classes",
    Head.YOLO_V5: "like YOLO v5 to v7 (N, M, 5 + classes)",
    Head.YOLO_V8: "like YOLO v8 to v11 (N, 4 + classes, M)",
    Head.SSD: "SSD: offsets from priors",
}
TASK_HELP = (
    "The task names the metric that takes top-1's place: mIoU of masks, mAP of boxes, MAE of "
    "numbers, recall at 1 of embeddings, AUC of anomalies."
)


def task_form(workspace: Workspace) -> None:
    """Show the task with its metric, and let the user choose another."""
    parts, choice = workspace.parts, workspace.data
    if parts is None or workspace.opened is not None:
        return
    metric = parts.metric
    decided = "classification" if metric is None else metric.task
    place = f"task.{workspace.data_choices}"
    row = st.container(horizontal=True, vertical_alignment="bottom")
    kind: TaskKind = (
        row.selectbox(
            "Task",
            list(TaskKind),
            list(TaskKind).index(choice.task),
            format_func=lambda one: f"auto: {decided}" if one is TaskKind.AUTO else str(one),
            key=f"{place}.kind",
            help=TASK_HELP,
            width=260,
        )
        or choice.task
    )
    head = choice.head
    if (metric is not None and metric.task == TaskKind.DETECTION) or kind is TaskKind.DETECTION:
        head = (
            row.selectbox(
                "Head",
                list(HEAD_NAMES),
                list(HEAD_NAMES).index(choice.head),
                format_func=HEAD_NAMES.__getitem__,
                key=f"{place}.head",
                help="How the outputs hold boxes, scores and classes",
                width=340,
            )
            or choice.head
        )
    priors = _priors_field(workspace, place) if head is Head.SSD else choice.priors
    if (kind, head, priors) != (choice.task, choice.head, choice.priors):
        workspace.take_data(replace(choice, task=kind, head=head, priors=priors))
        st.rerun()
    if metric is not None:
        st.caption(f"Scored by {plain(metric.name)}, which takes top-1's place on every page.")


def _priors_field(workspace: Workspace, place: str) -> str:
    """Offer the prior boxes of an SSD head; return the path of the file, "" without one."""
    current = workspace.data.priors
    uploaded = st.file_uploader(
        "Prior boxes of the SSD head (.npy)",
        type=["npy"],
        key=f"{place}.priors.file",
        help="An array (M, 4): centre x, y, width and height of each prior as shares of the image",
    )
    if uploaded is not None:
        return write_uploaded_priors(workspace, uploaded)
    if not paths_open(workspace.settings):
        return current
    return st.text_input(
        "Or a path to the prior boxes on this machine",
        current,
        key=f"{place}.priors.path",
        placeholder="/data/priors.npy",
    ).strip()


def write_uploaded_priors(workspace: Workspace, file: Upload) -> str:
    """Write uploaded prior boxes into the workspace's folder by their content; return the path."""
    content = bytes(file.getbuffer())
    path = workspace.folder / "priors" / f"{hashlib.sha256(content).hexdigest()[:32]}.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return str(path)


def targets_fields(workspace: Workspace, place: str) -> tuple[str, Sequence[Upload]]:
    """Offer targets of a folder of images; return the typed path and the uploaded files."""
    choice = workspace.data
    uploaded = st.file_uploader(
        "Targets of a folder of images: a COCO file, or the masks (.png) or YOLO labels (.txt)",
        type=["json", "png", "txt"],
        accept_multiple_files=True,
        key=f"{place}.targets.files",
        help="Masks and labels have the names of their images. An .npz holds targets itself.",
    )
    typed = ""
    if paths_open(workspace.settings):
        shown = "" if is_bundled_data(choice.source) else choice.targets
        typed = st.text_input(
            "Or a path to the targets on this machine",
            shown,
            key=f"{place}.targets.path",
            placeholder="/data/annotations.json, /data/masks or /data/labels",
        ).strip()
    return typed, uploaded or []


def write_uploaded_targets(workspace: Workspace, files: Sequence[Upload]) -> str:
    """Write uploaded targets into the workspace's folder; return their path, "" without any."""
    if not files:
        return ""
    root = workspace.folder / "targets"
    shutil.rmtree(root, ignore_errors=True)
    folder = root / uuid.uuid4().hex
    folder.mkdir(parents=True)
    for file in files:
        # names come from the browser: nothing of them may lead out of the folder
        name = file.name.replace("\\", "/").rpartition("/")[2]
        if name not in {"", ".", ".."}:
            (folder / name).write_bytes(file.getbuffer())
    (first, *others) = files
    alone = not others and first.name.lower().endswith(".json")
    return str(folder / first.name.replace("\\", "/").rpartition("/")[2] if alone else folder)
