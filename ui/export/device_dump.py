"""A dump of a device beside the simulation, on the page Export."""

import shutil
import uuid
from pathlib import Path

import streamlit as st

from analysis.deployment.device_dump.compare_dump import DumpComparison, LayerDivergence
from analysis.deployment.device_dump.dump_inputs import DeviceDump, compare_experiment_dump
from data_io.dump_files import read_dump, read_dump_names
from quant.progress import Steps
from ui.export.jobs import ExportRequest
from ui.job_kind import JobKind
from ui.jobs import Job
from ui.model.upload import Upload
from ui.request_guard import paths_open
from ui.state.workspace import Workspace
from ui.widgets.markdown import plain

HELP = (
    "Tensors that a device or another simulator recorded, under names of layers, operators or "
    "ONNX tensors. Each layer is judged on the inputs that the device recorded."
)


def device_dump_box(workspace: Workspace, wish: ExportRequest) -> None:
    """Offer the comparison of a dump with the simulation, or show what was found."""
    row = st.container(horizontal=True, vertical_alignment="bottom")
    dump = row.file_uploader(
        "The dump (.npz or .npy)", type=["npz", "npy"], key="export.dump.file", help=HELP
    )
    names = row.file_uploader(
        "Names of tensors (JSON, if they are others)",
        type="json",
        key="export.dump.names",
        help='{"tensor of the dump": "layer"}',
    )
    path = ""
    if paths_open(workspace.settings):
        path = st.text_input(
            "Or a path on this machine",
            key="export.dump.path",
            placeholder="/data/dump.npz, or a folder of .npy, .raw or .bin files",
        ).strip()
    scored, noun = wish.study.scored, wish.network.noun
    images = st.number_input(
        f"Recorded {noun}s, from the start of the scored {noun}s (0: the dump holds the input)",
        0,
        64 if scored is None else min(64, len(scored)),
        0,
        key="export.dump.images",
    )
    if st.button(
        "Compare",
        key="export.dump",
        icon=":material/compare_arrows:",
        disabled=not (dump or path) or workspace.runner.active_of(JobKind.COMPARE_DUMP) is not None,
    ):
        try:
            task = _read_task(workspace, wish, dump, names, path, int(images))
        except (ValueError, OSError) as error:
            st.error(plain(str(error)))
            return
        _start_comparison(workspace, wish, task)
        st.rerun()
    found = workspace.exports.dumps.get(wish.key)
    if found is None:
        st.caption("The first layer that differs is named, and the reason that explains it best.")
        return
    _show_comparison(found, noun)


def _read_task(
    workspace: Workspace,
    wish: ExportRequest,
    dump: Upload | None,
    names: Upload | None,
    path: str,
    images: int,
) -> DeviceDump:
    """Return the dump of the fields.

    Raises:
        ValueError: a file cannot be read.
        OSError: a file cannot be read.
    """
    if dump is None:
        tensors = read_dump(Path(path))
    else:
        folder = workspace.folder / "dump" / uuid.uuid4().hex
        folder.mkdir(parents=True)
        target = folder / f"dump.{dump.name.rpartition('.')[2].lower()}"
        target.write_bytes(dump.getbuffer())
        tensors = read_dump(target)
    found = {} if names is None else read_dump_names(bytes(names.getbuffer()), names.name)
    return DeviceDump(tensors, found, images or None, wish.study.scored)


def _start_comparison(workspace: Workspace, wish: ExportRequest, task: DeviceDump) -> None:
    def compare_steps() -> Steps[DumpComparison]:
        return compare_experiment_dump(wish.study, wish.experiment, task)

    def keep_comparison(found: DumpComparison) -> None:
        workspace.exports.dumps[wish.key] = found
        shutil.rmtree(workspace.folder / "dump", ignore_errors=True)

    title = f"{JobKind.COMPARE_DUMP} {wish.name}"
    workspace.runner.submit(Job(JobKind.COMPARE_DUMP, title, compare_steps, keep_comparison))


def _show_comparison(found: DumpComparison, noun: str) -> None:
    """Show the sentence, a row for each layer that differs, and what has no partner."""
    show = st.error if found.first is not None else st.success
    show(plain(found.sentence))
    if found.divergences:
        st.dataframe(
            [_divergence_row(one) for one in found.divergences],
            hide_index=True,
            width="stretch",
            alt="Layers that differ",
        )
    told = f"{found.images} {noun}s; {len(found.agreeing)} layers agree"
    if found.missing:
        told += f", {len(found.missing)} are not recorded"
    if found.unmatched:
        told += f"; tensors without a layer: {', '.join(found.unmatched[:8])}"
    st.caption(plain(f"{told}."))


def _divergence_row(one: LayerDivergence) -> dict[str, object]:
    best = one.tried[0] if one.tried else None
    return {
        "layer": one.layer,
        "tensor": one.tensor,
        "differs, %": 100 * one.differing,
        "by at most, steps": one.largest_steps,
        "probable reason": "none explains it" if one.reason is None else one.reason.reason,
        "best explains, %": None if best is None else 100 * best.explained,
    }
