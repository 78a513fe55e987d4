"""How many calibration images are enough, on the page Ranges."""

from dataclasses import replace

import streamlit as st

from analysis.calibration_size.score_sizes import (
    SCORED_DRAWS,
    SCORED_IMAGES,
    ScoreCurve,
    measure_size_scores,
)
from analysis.calibration_size.size_curve import SizeCurve, measure_sizes
from analysis.evaluation.shown_inputs import image_input_place, pictures_of
from figures.ranges.calibration_size import noise_by_images, score_by_images
from ui.job_kind import JobKind
from ui.jobs import Job
from ui.state.results import EnoughImages
from ui.state.workspace import Workspace
from ui.widgets.figure import show_figure
from ui.widgets.markdown import plain

FEWEST = 16
MOST_PICTURES = 6


def enough_images(workspace: Workspace) -> None:
    """Offer the question how many calibration images are enough, or show the answer."""
    study = workspace.job_study
    if study is None or study.calibration is None or len(study.calibration) < FEWEST:
        return
    images, config = study.calibration, workspace.config
    found = workspace.enough
    with st.expander(
        f"How many calibration {images.noun}s are enough?", icon=":material/filter_frames:"
    ):
        if found is not None and found.images is images and found.config == config:
            _show_curve(workspace, found)
            return
        st.caption(
            f"One pass over the {len(images)} {images.noun}s gives the ranges of every smaller "
            "number of them, drawn eight times."
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


def _show_curve(workspace: Workspace, found: EnoughImages) -> None:
    """Show the sentence, the curves, a row for each number of images, and harmful images."""
    curve = found.curve
    st.markdown(f"**{plain(curve.sentence)}**")
    figure = noise_by_images(curve)
    show_figure(figure, "ranges.enough.noise")
    if found.scores is not None:
        scored = score_by_images(found.scores)
        show_figure(scored, "ranges.enough.scores")
    else:
        _offer_scores(workspace, found)
    st.dataframe(
        [
            {
                f"{curve.noun}s": point.images,
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
        f"More noise than with the ranges of all {curve.images} {curve.noun}s, the mean over "
        f"{curve.tensors} tensors. Four times {curve.points[-1].images} {curve.noun}s would let "
        f"ranges differ by {curve.predict_spread(4 * curve.points[-1].images):.1%}."
    )
    if curve.outliers:
        _show_outliers(workspace, found)


def _offer_scores(workspace: Workspace, found: EnoughImages) -> None:
    """Offer to score the network with the ranges of each draw."""
    study, config = workspace.job_study, workspace.config
    if study is None or study.scored is None:
        return

    def ask() -> None:
        def keep(scores: ScoreCurve) -> None:
            workspace.enough = replace(found, scores=scores)

        title = f"{JobKind.CALIBRATION_SIZE} the score of {study.network.name}"
        workspace.runner.submit(
            Job(JobKind.CALIBRATION_SIZE, title, lambda: measure_size_scores(study, config), keep)
        )

    count = min(SCORED_IMAGES, len(study.scored))
    st.button(
        "Measure the score at each number, too",
        key="ranges.enough.score",
        icon=":material/query_stats:",
        on_click=ask,
        disabled=bool(workspace.runner.active_jobs),
        help=f"{SCORED_DRAWS} draws at each number of {study.scored.noun}s, {count} to score",
    )


def _show_outliers(workspace: Workspace, found: EnoughImages) -> None:
    """Show the images that alone move a range, as pictures where the input is an image."""
    outliers, network = found.curve.outliers, workspace.network
    st.caption(
        f"{found.curve.noun.capitalize()}s that alone hold much of a range; without them it is "
        "narrower:"
    )
    places = {index: place for place, index in enumerate(found.images.indices)}
    shown = list(dict.fromkeys(one.index for one in outliers if one.index in places))[
        :MOST_PICTURES
    ]
    if network is not None and image_input_place(network) is not None and shown:
        pictures = pictures_of(network, found.images, [places[index] for index in shown])
        for column, index, picture in zip(st.columns(MOST_PICTURES), shown, pictures, strict=False):
            own = [one for one in outliers if one.index == index]
            worst = max(own, key=lambda one: one.share)
            told = f"image {index}: {worst.share:.0%} of the range of {worst.tensor}"
            column.image(picture, width="stretch", alt=told)
            column.caption(plain(told))
    st.dataframe(
        [
            {found.curve.noun: one.index, "layer": one.tensor, "share of the range": one.share}
            for one in outliers
        ],
        width="stretch",
        key="ranges.enough.outliers",
    )
