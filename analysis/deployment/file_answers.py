"""What an exported file answers in a runtime, beside the simulation and the run of its name."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from analysis.evaluation.evaluate import Data
from analysis.evaluation.forwards import check_label_range
from analysis.evaluation.output_error import OutputTally
from analysis.network import Network, Runnable, forward_all_outputs
from analysis.runs.run_store import Run
from quant.errors import QuantError
from quant.inputs import sample_count
from quant.progress import Progress, Steps

USUAL_IMAGES = 128
"""Images that a file is run on when it is made: seconds, and one point is about one image."""
LEAST_AGREEMENT = 0.9
"""Share of images with the simulation's answer; below, the file is wrong (our choice)."""
LEAST_SQNR_DB = 10.0
"""The same bound for networks that do not classify: noise of a tenth of the signal."""
NEAR = 0.05
"""Distance of two top-1 accuracies, beside chance, that says nothing (our choice)."""
DEVIATIONS = 3.0


@dataclass(frozen=True, slots=True)
class FileAnswers:
    """The answers of a file on `samples` images; shares of 1.

    `sqnr_db` is that of the file's output against the simulation. `agreement` is the share of
    images with the simulation's class, None where the network does not classify; `top1` and
    `simulated_top1` are None without labels. `noun` is the word for an item of the data.
    """

    samples: int
    sqnr_db: float
    agreement: float | None = None
    top1: float | None = None
    simulated_top1: float | None = None
    noun: str = "image"


def check_answers(
    network: Network, simulated: Runnable, file: Runnable, data: Data
) -> Steps[FileAnswers]:
    """Run the simulation and the file over all images of `data`.

    Raises:
        QuantError: `data` has no image, or a label is no output of the network.
    """
    if len(data) == 0:
        raise QuantError("A file is checked on data; got none. Choose other data.")
    tally, fixed = OutputTally(), network.graph.batch
    done = agreed = hits = simulated_hits = 0
    labelled = network.is_classifier
    for batch in data.batches(network.forward_batch_size):
        check_label_range(batch.labels, network.output_count)
        wanted = forward_all_outputs(simulated, fixed, batch.inputs)
        got = forward_all_outputs(file, fixed, batch.inputs)
        tally.add_outputs(wanted, got)
        done += sample_count(batch.inputs)
        labelled = labelled and batch.labels is not None
        if network.is_classifier:
            ours, theirs = wanted[0].argmax(-1), got[0].argmax(-1)
            agreed += int((ours == theirs).sum())
            if batch.labels is not None:
                hits += int((theirs == batch.labels).sum())
                simulated_hits += int((ours == batch.labels).sum())
        yield Progress(done / len(data), f"Running the file: {done} of {len(data)} {network.noun}s")
    return FileAnswers(
        done,
        tally.sqnr_db,
        agreed / done if network.is_classifier else None,
        hits / done if labelled else None,
        simulated_hits / done if labelled else None,
        network.noun,
    )


def run_named(runs: Iterable[Run], name: str, model: str, data: str) -> Run | None:
    """Return the first run of a name, on the digests of a model and of images."""
    wanted = (name, model, data)
    return next((r for r in runs if (r.name, r.model_digest, r.data_digest) == wanted), None)


def describe_answers(found: FileAnswers) -> str:
    """Return in a sentence what a file answered."""
    words = f"Run in ONNX Runtime on {found.samples} {found.noun}s: "
    if found.agreement is None:
        return f"{words}the output lies {found.sqnr_db:.1f} dB beside the simulation's."
    words += f"{100 * found.agreement:.1f} % have the simulation's answer"
    if found.top1 is None or found.simulated_top1 is None:
        return f"{words}."
    theirs, ours = f"{100 * found.top1:.2f} %", f"{100 * found.simulated_top1:.2f} %"
    return f"{words}, its top-1 is {theirs}, the simulation's is {ours}."


def find_mismatch(found: FileAnswers, run: Run | None = None) -> str:
    """Return why a file is not the network that it is named after, or nothing.

    Compared are the top-1 of `run`, on all images, and the simulation on the same images. A network
    that quantization broke answers by chance, so with labels another answer counts only where the
    top-1 differs, too.
    """
    measured = None if run is None else run.evaluation.quantized_top1
    if run is not None and measured is not None and _answer_differs(found, measured):
        return (
            f"The file must be the network of the run {run.name!r} that it is named after; its "
            f"top-1 is {_percent_text(found.top1)} on {found.samples} {found.noun}s, that of the "
            f"run {_percent_text(measured)}. Load that run and export again, or give this one "
            "another name."
        )
    if found.agreement is None:
        apart = found.sqnr_db < LEAST_SQNR_DB
    else:
        same_score = found.simulated_top1 is not None and not _answer_differs(
            found, found.simulated_top1
        )
        apart = found.agreement < LEAST_AGREEMENT and not same_score
    if not apart:
        return ""
    return (
        "The file must answer as the simulation does, and does not. "
        f"{describe_answers(found)} Do not use it; report it with the model."
    )


def _answer_differs(found: FileAnswers, top1: float) -> bool:
    """Whether the file's top-1 is farther from another top-1 than chance explains."""
    if found.top1 is None:
        return False
    chance = DEVIATIONS * math.sqrt(top1 * (1 - top1) / found.samples)
    return abs(found.top1 - top1) > NEAR + chance


def _percent_text(share: float | None) -> str:
    return "unknown" if share is None else f"{100 * share:.1f} %"
