"""How many calibration images are enough, on the page Ranges."""

import streamlit as st

from analysis.calibration_size.size_curve import SizeCurve, measure_sizes
from ui.job_kind import JobKind
from ui.jobs import Job
from ui.state.results import EnoughImages
from ui.state.workspace import Workspace
from ui.widgets.markdown import plain

FEWEST = 16


def enough_images(workspace: Workspace) -> None:
    """Offer the question how many calibration images are enough, or show the answer."""
    study = workspace.job_study
    if study is None or study.calibration is None or len(study.calibration) < FEWEST:
        return
    images, config = study.calibration, workspace.config
    found = workspace.enough
    with st.expander("How many calibration images are enough?", icon=":material/filter_frames:"):
        if found is not None and found.images is images and found.config == config:
            _show_curve(found.curve)
            return
        st.caption(
            f"One pass over the {len(images)} images gives the ranges of every smaller number of "
            "them, drawn eight times."
        )

        def ask() -> None:
            def keep(curve: SizeCurve) -> None:
                workspace.enough = EnoughImages(images, config, curve)

            workspace.runner.submit(
                Job(
                    JobKind.CALIBRATION_SIZE,
                    f"{JobKind.CALIBRATION_SIZE} {study.network.name}",
                    lambda: measure_sizes(study.network, images, config),
                    keep,
                )
            )

        st.button(
            "Find out",
            key="ranges.enough",
            icon=":material/play_arrow:",
            on_click=ask,
            disabled=workspace.runner.active_of(JobKind.CALIBRATION_SIZE) is not None,
        )


def _show_curve(curve: SizeCurve) -> None:
    """Show the sentence, a row for each number of images, and the images that stand out."""
    st.markdown(f"**{plain(curve.sentence)}**")
    st.dataframe(
        [
            {
                "images": point.images,
                "more noise, dB": round(point.excess_db, 3),
                "of the worst draw, dB": round(point.worst_db, 3),
                "ranges differ by, %": round(100 * point.spread, 2),
            }
            for point in curve.points
        ],
        width="stretch",
        key="ranges.enough.points",
    )
    st.caption(
        f"More noise than with the ranges of all {curve.images} images, the mean over "
        f"{curve.tensors} tensors. Four times {curve.points[-1].images} images would let ranges "
        f"differ by {curve.predict_spread(4 * curve.points[-1].images):.1%}."
    )
    if curve.outliers:
        st.caption("Images that alone hold much of a range; without them it is narrower:")
        st.dataframe(
            [
                {"image": one.index, "layer": one.tensor, "share of the range": one.share}
                for one in curve.outliers
            ],
            width="stretch",
            key="ranges.enough.outliers",
        )
