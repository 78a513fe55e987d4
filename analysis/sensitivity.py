"""Which layer is guilty: what each costs when it alone is quantized, or alone is not."""

from collections.abc import Sequence

from analysis.answers import ask, gather
from analysis.calibration import Calibrated
from analysis.cells import Cells
from analysis.exact import run_exact
from analysis.network import Network
from analysis.questions import Depth, Sensitivity, Sweep
from analysis.runs import RunStore
from analysis.workers import Pool, Workers
from datasets.dataset import Dataset
from quant.errors import QuantError
from quant.progress import Progress, Steps


def sensitivity(
    network: Network,
    data: Dataset,
    calibrated: Calibrated,
    sweep: Sweep,
    depth: Depth = Depth.EXACT,
    store: RunStore | None = None,
    workers: Workers | None = None,
    ranking: Sequence[str] | None = None,
) -> Steps[Sensitivity]:
    """Answer a sweep's questions from the images of `data`, to the depth asked for.

    An exact sweep keeps in `store` what it finds, and computes only what is not there: closing the
    generator loses nothing, and more images refine the answers. `ranking` names layers, the worst
    first; the first of them are answered first.

    Raises:
        QuantError: there is no image, a label is no output of the network, a layer is not the
            network's, or a range needs statistics that `calibrated` lacks.
    """
    if depth is Depth.INSTANT:
        from analysis.instant import instant  # noqa: PLC0415

        return instant(network, calibrated, sweep)
    if depth is Depth.SCREENING:
        from analysis.screening import screen  # noqa: PLC0415

        return (yield from screen(network, data, calibrated, sweep))
    return (yield from exact(network, data, calibrated, sweep, store, workers or Pool(), ranking))


def exact(
    network: Network,
    data: Dataset,
    calibrated: Calibrated,
    sweep: Sweep,
    store: RunStore | None,
    workers: Workers,
    ranking: Sequence[str] | None = None,
    *,
    reuse: bool = True,
) -> Steps[Sensitivity]:
    """Answer by forwards of all images; without `reuse` a full forward for each question."""
    if len(data) == 0:
        raise QuantError("A score needs images; the data has none. Choose other data.")
    yield Progress(0.0, "Looking up what is known")
    cells = Cells(store.path if store else None)
    asked = ask(network, data, calibrated, sweep, cells)
    work = run_exact(asked, data, cells, workers, ranking, reuse=reuse)
    effort = yield from work
    program = asked.grids.program
    whole = program.macs(0, len(program)) * len(data)
    return gather(asked, cells, effort.seconds, effort.macs / whole if whole else 0.0)


def kept(
    network: Network, data: Dataset, calibrated: Calibrated, sweep: Sweep, store: RunStore
) -> Sensitivity:
    """Return what the store knows of an exact sweep now; runs nothing.

    Raises:
        ConfigError: a layer or a rule of the sweep does not fit the network.
    """
    cells = Cells(store.path)
    return gather(ask(network, data, calibrated, sweep, cells), cells)
