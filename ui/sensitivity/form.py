"""The question of the page Sensitivity: the controls, and Start, Pause, Cancel, Resume."""

import streamlit as st

from analysis.sensitivity.exact.most_harmful import MostHarmful
from analysis.sensitivity.ranking import progress_in_words
from analysis.sensitivity.sweep import Depth, Sensitivity, View
from figures.sensitivity.wording import cell_text
from quant.simulation.plan import Side
from quant.spec import FLOAT_BITS
from ui.answers.proof import proven_layers, start_proof
from ui.answers.sensitivity import (
    SCREENED_IMAGES,
    active_sweep_job,
    last_request,
    start_sweep,
    stop_sweep,
)
from ui.jobs import Job, JobState
from ui.request_guard import paths_open
from ui.state.sensitivity import SweepRequest
from ui.state.workspace import Workspace
from ui.widgets.job_text import job_state_text
from ui.widgets.markdown import plain
from ui.widgets.tables import BIT_CHOICES

BITS = tuple(bits for bits in BIT_CHOICES if bits != FLOAT_BITS)
MOST_PROVEN = 100
DEPTHS = {
    Depth.INSTANT: "Instant",
    Depth.SCREENING: "Screening",
    Depth.EXACT: "Exact",
}
VIEWS = {View.ONLY: "Only this layer", View.ALL_BUT: "All but this layer"}
ROLES = {Side.WEIGHTS: "Weights", Side.ACTIVATIONS: "Activations", Side.BOTH: "Both together"}
DEPTH_HELP = (
    "Instant: the noise of each tensor by itself, no forward. Screening: that noise carried to "
    f"the output by gradients, on {SCREENED_IMAGES} of the data. Exact: the network runs with "
    "each layer quantized, on all of the data."
)
VIEW_HELP = (
    "Only this layer: all else is float, so the number is what this layer costs. All but this "
    "layer: all else is quantized, so it is what its return to float would give back."
)


def sweep_request_form(workspace: Workspace) -> SweepRequest:
    """Show the controls and return the question; the controls start from the last question."""
    last = last_request(workspace)
    row = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
    depth = row.segmented_control(
        "Depth",
        list(Depth),
        default=last.depth,
        required=True,
        format_func=DEPTHS.__getitem__,
        key="sensitivity.depth",
        persist_state="session",
        help=DEPTH_HELP,
    )
    view = row.segmented_control(
        "View",
        list(View),
        default=last.view,
        required=True,
        format_func=VIEWS.__getitem__,
        key="sensitivity.view",
        persist_state="session",
        help=VIEW_HELP,
    )
    sides = row.segmented_control(
        "Sides",
        list(Side),
        default=list(last.sides),
        selection_mode="multi",
        format_func=ROLES.__getitem__,
        key="sensitivity.sides",
        persist_state="session",
        help="Both together quantizes a layer's weights and output at once",
    )
    bits_column, images_column = st.columns([3, 1])
    bits = bits_column.multiselect(
        "Bits",
        sorted(BITS, reverse=True),
        default=list(last.bits),
        key="sensitivity.bits",
        persist_state="session",
        help="All widths of a layer share one run up to it, so more of them cost little. "
        "Granularity and ranges are those of the configuration.",
    )
    images = _images_field(workspace, images_column, last)
    if depth is Depth.SCREENING and workspace.parts is not None and images > SCREENED_IMAGES:
        images_column.caption(f"Screening uses the first {SCREENED_IMAGES} of them.")
    stop_early, scheduler, memory = _further_fields(workspace, last)
    most_harmful = _most_harmful_field(depth or last.depth, view or last.view, last)
    return SweepRequest(
        depth=depth or last.depth,
        view=view or last.view,
        sides=tuple(side for side in Side if side in (sides or last.sides)),
        bits=tuple(sorted(bits or last.bits, reverse=True)),
        images=images,
        stop_when_decided=stop_early,
        scheduler=scheduler,
        memory_mib=memory,
        most_harmful=most_harmful,
    )


def _most_harmful_field(depth: Depth, view: View, last: SweepRequest) -> int:
    """Show the field for the number of layers to prove, where a proof can be asked for."""
    if (depth, view) != (Depth.EXACT, View.ONLY):
        return 0
    return int(
        st.number_input(
            "Prove only the most harmful layers",
            0,
            MOST_PROVEN,
            last.most_harmful,
            key="sensitivity.proven",
            persist_state="session",
            width=300,
            help="0 measures every cell. Such as 10: the ten layers that add the most noise at the "
            "fewest bits, proven at 95 %. Data go to the layers whose place is undecided, so it "
            "takes a fraction of the time.",
        )
    )


def _images_field(
    workspace: Workspace, place: st.delta_generator.DeltaGenerator, last: SweepRequest
) -> int:
    if workspace.parts is None:
        return last.images
    most = len(workspace.parts.score)
    return int(
        place.number_input(
            f"{workspace.parts.score.noun.capitalize()}s",
            1,
            most,
            min(last.images, most),
            50,
            key=f"sensitivity.images.{most}",
            persist_state="session",
            help="More later refine what is known; none runs twice",
        )
    )


def _further_fields(workspace: Workspace, last: SweepRequest) -> tuple[bool, str, int]:
    """Show rarely used fields: early stop, cluster, memory."""
    settings = workspace.settings
    with st.expander("Early stop, cluster, memory", icon=":material/tune:"):
        early, address, memory = st.columns(3, vertical_alignment="bottom")
        stop_early = early.checkbox(
            "Stop a layer once decided",
            last.stop_when_decided,
            key="sensitivity.early",
            persist_state="session",
            help="No more data for a layer whose interval overlaps with no other layer's",
        )
        scheduler = settings.scheduler
        if paths_open(settings):  # on a shared server, a visitor connects it to nothing
            scheduler = address.text_input(
                "Dask scheduler",
                last.scheduler or settings.scheduler,
                key="sensitivity.scheduler",
                persist_state="session",
                placeholder="tcp://host:8786",
                help="Empty: the cores of this machine. Results are the same to the last bit.",
            )
        limit = memory.number_input(
            "Memory for activations (MiB)",
            1,
            max(1 << 20, settings.memory_mib),
            settings.memory_mib,
            64,
            key="sensitivity.memory",
            persist_state="session",
            help="What does not fit is computed again from the nearest layer kept",
        )
    return stop_early, scheduler.strip(), int(limit)


def sweep_buttons(
    workspace: Workspace, asked: SweepRequest, found: Sensitivity | None, total: int
) -> None:
    """Show the buttons for the state of the sweep: start, pause and cancel, or resume."""
    job = active_sweep_job(workspace)
    if job is not None:
        _running_buttons(workspace, job)
        return
    if asked.depth is Depth.INSTANT or workspace.parts is None:
        return
    if asked.depth is Depth.SCREENING:
        done = found is not None and found.depth is Depth.SCREENING
        _start_button(workspace, asked, "Screen", "Seconds; nothing else stops", done=done)
        return
    if asked.seeks_most_harmful:
        _proof_button(workspace, asked)
        return
    known = 0 if found is None else sum(score.depth is Depth.EXACT for score in found.scores)
    finished = found is not None and known >= total and _has_enough_images(workspace, asked, found)
    row = st.container(horizontal=True, vertical_alignment="center")
    with row:
        label = "Resume" if known and not finished else "Start"
        _start_button(
            workspace, asked, label, "Runs beside the page; nothing is lost", done=finished
        )
    if found is not None and known and not finished:
        state = "Paused" if workspace.sensitivity.paused else "Unfinished"
        row.caption(f"{state}: {progress_in_words(found, total)}. They are kept.")
    elif finished:
        row.caption(f"All {total} cells are known on {asked.images} {workspace.parts.score.noun}s.")


def _proof_button(workspace: Workspace, asked: SweepRequest) -> None:
    proven = proven_layers(workspace, asked)
    if st.button(
        "Prove",
        key="sensitivity.start",
        type="primary",
        icon=":material/play_arrow:",
        disabled=bool(proven),
        help="Runs beside the page; what is measured is kept",
    ):
        start_proof(workspace, asked)
        st.rerun()  # the whole page, so that the frame shows the job
    noun = "image" if workspace.network is None else workspace.network.noun
    for one in proven:
        st.success(proof_sentence(one, noun), icon=":material/verified:")


def proof_sentence(found: MostHarmful, noun: str = "image") -> str:
    """Say which layers harm most, how sure that is, and of how many images or rows."""
    layers = ", ".join(plain(layer) for layer in found.layers)
    taken = (
        f"The proof took all {found.population} {noun}s, so it is certain."
        if found.confidence == 1
        else f"The set is that of all {found.population} {noun}s, proven at "
        f"{100 * found.confidence:.0f} % with {found.images} of them."
    )
    return f"Most harmful with {cell_text(found.side, found.bits)}: {layers}. {taken}"


def _has_enough_images(workspace: Workspace, asked: SweepRequest, found: Sensitivity) -> bool:
    """Whether each cell has the requested images, or was decided with fewer images."""
    network = workspace.network
    if network is not None and workspace.sensitivity.finished == (network.digest, asked):
        return True
    return all(score.images >= asked.images for score in found.scores)


def _start_button(
    workspace: Workspace, asked: SweepRequest, label: str, explanation: str, *, done: bool
) -> None:
    if st.button(
        label,
        key="sensitivity.start",
        type="primary",
        icon=":material/play_arrow:",
        disabled=done,
        help=explanation,
    ):
        start_sweep(workspace, asked)
        st.rerun()  # the whole page, so that the frame shows the job


def _running_buttons(workspace: Workspace, job: Job) -> None:
    words = plain(job_state_text(workspace.runner, job))
    st.progress(min(job.progress.fraction, 1.0), text=words)
    ending = job.state is JobState.CANCELLING
    row = st.container(horizontal=True)
    paused = row.button(
        "Pause",
        key="sensitivity.pause",
        icon=":material/pause:",
        disabled=ending,
        help="What is found is kept; resume at any time",
    )
    cancelled = row.button(
        "Cancel",
        key="sensitivity.cancel",
        icon=":material/close:",
        disabled=ending,
        help="What is found stays in the store",
    )
    if paused or cancelled:
        stop_sweep(workspace, pause=paused)
        st.rerun()
