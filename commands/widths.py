"""The command widths: a width for an output channel, without training."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from commands.app import app
from commands.experiment.options import ExperimentOptions, experiment_options
from commands.inputs import open_network
from commands.options import (
    BuilderOption,
    JsonOption,
    ModelOption,
    ShapeOption,
)
from commands.output import errors_as_sentences, write_answer


class WidthChoice(StrEnum):
    """The ways to choose the widths of channels."""

    VARIANCE = "variance"
    EVEN = "even"
    RANDOM = "random"


@app.command("widths")
@experiment_options(input_shape=("config", "activation_bits"))
def choose_channel_widths(
    *,
    options: ExperimentOptions,
    model: ModelOption,
    budget: Annotated[float, typer.Option(help="Bits a weight on average, 1 to 8.")],
    method: Annotated[WidthChoice, typer.Option(help="By what.")] = WidthChoice.VARIANCE,
    seed: Annotated[int, typer.Option(help="Of the random choice.")] = 0,
    builder: BuilderOption = None,
    input_shape: ShapeOption = None,
    out: Annotated[Path | None, typer.Option(help="File for the configuration.")] = None,
    answer: JsonOption = "-",
) -> None:
    """Give each output channel 1, 2, 4 or 8 bits; needs no data.

    variance: where the weights vary most, which makes the bound of the loss least. even and random
    (the histogram of variance, dealt at random) are there to compare with.
    """
    with errors_as_sentences(answer):
        base = options.read_config()
        from quant.channel_widths import (  # noqa: PLC0415
            config_with_channel_widths,
            count_channel_widths,
            even_channel_widths,
            mean_weight_bits,
            random_channel_widths,
            widths_by_variance,
        )

        graph = open_network(model, builder, input_shape).graph
        chosen = (
            even_channel_widths(graph, budget)
            if method is WidthChoice.EVEN
            else widths_by_variance(graph, budget)
        )
        if method is WidthChoice.RANDOM:
            chosen = random_channel_widths(graph, chosen, seed)
        found = config_with_channel_widths(base, chosen)
        if out is not None:
            out.write_text(found.to_json(), encoding="utf-8")
        write_answer(
            answer,
            {
                "mean_bits": mean_weight_bits(graph, chosen),
                "channels": count_channel_widths(chosen),
                "config": found.to_dict(),
            },
        )
