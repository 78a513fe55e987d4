"""The command images: how many are enough to calibrate on, and to decide between two runs."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from analysis.evaluation.tasks.kinds import Head, TaskChoice, TaskKind
from commands.app import app
from commands.experiment.options import ExperimentOptions
from commands.inputs import open_network, open_preprocess
from commands.options import (
    BuilderOption,
    DataOption,
    HeadOption,
    JsonOption,
    LabelOption,
    ModelOption,
    PreprocessOption,
    PriorsOption,
    SamplesOption,
    SeedOption,
    ShapeOption,
    TargetsOption,
    TaskOption,
)
from commands.output import add_warnings, errors_as_sentences, print_line, watch_steps, write_answer


@app.command("images")
def count_needed_images(
    *,
    model: ModelOption,
    experiment: Annotated[
        Path | None,
        typer.Option(help="The experiment (JSON) whose ranges are chosen; else 8 bits."),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            help="A run of --runs, or an experiment's file: how many images or rows decide which "
            "is better."
        ),
    ] = None,
    runs: Annotated[Path | None, typer.Option(help="Folder of runs, for --against.")] = None,
    calibration: Annotated[
        int, typer.Option(help="Images that are drawn from; the answer lies below half of them.")
    ] = 256,
    builder: BuilderOption = None,
    input_shape: ShapeOption = None,
    data: DataOption = None,
    preprocess: PreprocessOption = None,
    label_column: LabelOption = None,
    samples: SamplesOption = None,
    task: TaskOption = TaskKind.AUTO,
    targets: TargetsOption = None,
    head: HeadOption = Head.AUTO,
    priors: PriorsOption = None,
    seed: SeedOption = None,
    score: Annotated[
        bool, typer.Option("--score", help="Measure the score at each number, too.")
    ] = False,
    out: JsonOption = "-",
) -> None:
    """Tell how many images are enough: to calibrate on, and with --against to decide on.

    One pass over the calibration images gives the ranges of every smaller number of them.
    """
    with errors_as_sentences(out):
        options = ExperimentOptions(experiment=experiment, seed=seed)
        record = options.read()
        from analysis.calibration_size.size_curve import measure_sizes  # noqa: PLC0415
        from analysis.gate.decide_between import decide_between  # noqa: PLC0415
        from analysis.split import ImageChoice, choose_data_split  # noqa: PLC0415
        from commands.gate.score_both import CheckTask, score_both  # noqa: PLC0415
        from commands.work.make_report import open_run_store  # noqa: PLC0415

        how = open_preprocess(preprocess, label_column, model)
        config, first = record.experiment.config, record.experiment.seed
        choice = ImageChoice(
            data, how, samples, calibration, first, TaskChoice(task, head, targets, priors)
        )
        network = open_network(model, builder, input_shape)
        split = choose_data_split(model, network, config, choice, learning=True)
        if split.calibration is None:
            raise ValueError("Ranges need calibration data; got none. Name data.")
        curve = watch_steps(measure_sizes(network, split.calibration, config))
        print_line(curve.sentence)
        answer: dict[str, object] = {
            "calibration": {"sentence": curve.sentence, **asdict(curve)},
            "score": None,
            "decision": None,
            "notes": list(split.notes),
        }
        if score:
            from analysis.calibration_size.score_sizes import measure_size_scores  # noqa: PLC0415
            from analysis.study import Study  # noqa: PLC0415

            study = Study.of_split(network, split)
            answer["score"] = asdict(watch_steps(measure_size_scores(study, config)))
        if against is not None:
            store = open_run_store(runs, None)
            both = CheckTask(
                model, network, options, choice, against=against, store=store, keep=False
            )
            scored = score_both(both)
            if scored.against is not None:
                found = decide_between(scored.run, scored.against)
                print_line(found.sentence)
                answer["decision"] = {"sentence": found.sentence, **asdict(found)}
        write_answer(out, add_warnings(answer, how.notes if how else ()))
