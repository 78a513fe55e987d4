"""Which layer is guilty: what each costs when it alone is quantized, or alone is not."""

import time
from collections.abc import Sequence
from dataclasses import replace

from analysis.calibration import Calibrated
from analysis.network import Network
from analysis.runs.run_store import RunStore
from analysis.sensitivity.exact.answer_store import Cells
from analysis.sensitivity.exact.executors import Pool, Workers
from analysis.sensitivity.exact.gather import ask, gather, is_answered
from analysis.sensitivity.exact.run import FIRST_LAYERS, run_exact
from analysis.sensitivity.ranking import guiltiest
from analysis.sensitivity.screening.screen import screen
from analysis.sensitivity.sweep import Depth, Sensitivity, Sweep
from analysis.sensitivity.tensor_noise import instant
from data_io.dataset import Dataset
from quant.errors import QuantError
from quant.progress import Progress, Steps, part

SCREENED_IMAGES = 8
SCREENING_SHARE = 0.05


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
    first; the first of them are answered first. Without one, screening finds it from few images.

    Raises:
        QuantError: there is no image, a label is no output of the network, a layer is not the
            network's, or a range needs statistics that `calibrated` lacks.
    """
    if depth is Depth.INSTANT:
        return instant(network, calibrated, sweep)
    if depth is Depth.SCREENING:
        return (yield from screen(network, data, calibrated, sweep))
    work = exact(network, data, calibrated, sweep, store, workers or Pool(), ranking, screened=True)
    return (yield from work)


def worst_first(
    network: Network, data: Dataset, calibrated: Calibrated, sweep: Sweep
) -> Steps[tuple[str, ...]]:
    """Return the layers in question as screening ranks them, by a few images."""
    asked = replace(sweep, bits=(min(sweep.bits),))
    found = yield from screen(network, data.first(SCREENED_IMAGES), calibrated, asked)
    return guiltiest(found)


def exact(
    network: Network,
    data: Dataset,
    calibrated: Calibrated,
    sweep: Sweep,
    store: RunStore | None,
    workers: Workers,
    ranking: Sequence[str] | None = None,
    *,
    screened: bool = False,
    reuse: bool = True,
) -> Steps[Sensitivity]:
    """Answer by forwards of all images.

    `screened` says that screening shall rank the layers where no ranking is given and there is
    something to compute. Without `reuse` each answer takes a full forward.
    """
    if len(data) == 0:
        raise QuantError("A score needs images; the data has none. Choose other data.")
    yield Progress(0.0, "Looking up what is known")
    start = time.monotonic()
    cells = Cells(store.path if store else None)
    asked = ask(network, data, calibrated, sweep, cells)
    before = 0.0
    if (
        screened
        and ranking is None
        and len(asked.layers) > FIRST_LAYERS
        and not is_answered(asked, cells)
    ):
        before = SCREENING_SHARE
        ranking = yield from part(worst_first(network, data, calibrated, sweep), 0.0, before)
    work = run_exact(asked, data, cells, workers, ranking, reuse=reuse)
    macs = yield from part(work, before, 1.0)
    whole = asked.grids.program.macs(0, len(asked.grids.program)) * len(data)
    forwards = macs / whole if whole else 0.0
    return gather(asked, cells, time.monotonic() - start, forwards)


def kept(
    network: Network, data: Dataset, calibrated: Calibrated, sweep: Sweep, store: RunStore
) -> Sensitivity:
    """Return what the store knows of an exact sweep now; runs nothing.

    Raises:
        ConfigError: a layer or a rule of the sweep does not fit the network.
    """
    cells = Cells(store.path)
    return gather(ask(network, data, calibrated, sweep, cells), cells)
