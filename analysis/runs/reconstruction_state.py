"""The place on the disk where a reconstruction of blocks keeps its state."""

import hashlib
from pathlib import Path

from analysis.evaluation.evaluate import Data
from analysis.network import Network
from analysis.runs.experiment import Experiment
from analysis.runs.partial_scores import score_question_digest
from analysis.runs.run_store import RunStore
from quant.passes.reconstruct.reconstruct import Reconstruct
from quant.passes.reconstruct.stored_state import StoredState
from quant.simulation.quant_graph import QuantGraph

FOLDER = "reconstructions"
MOST_STATES = 32
"""Finished states that are kept, so that an export does not learn again; the newest stay."""


def open_state(
    folder: Path | None,
    network: Network,
    quantized: QuantGraph,
    step: Reconstruct,
    images: Data | None,
) -> StoredState:
    """Return the state of a reconstruction; without a folder it lives in memory alone.

    The question names everything the result depends on: network, encodings, images, settings.
    """
    digest = getattr(images, "digest", None)
    if folder is None or digest is None:
        return StoredState()
    whole = f"{score_question_digest(network, quantized, digest)} {step!r}"
    question = hashlib.sha256(whole.encode()).hexdigest()
    place = folder / FOLDER
    _drop_old_states(place)
    return StoredState(place / f"{question[:32]}.safetensors", question)


def store_for_states(experiment: Experiment, folder: Path) -> RunStore | None:
    """Return the store of a folder if a pass keeps its state there, else None."""
    needed = any(isinstance(step, Reconstruct) for step in experiment.all_passes)
    return RunStore(folder) if needed else None


def _drop_old_states(place: Path) -> None:
    found = sorted(place.glob("*.safetensors"), key=lambda path: path.stat().st_mtime)
    for path in found[: max(0, len(found) - MOST_STATES + 1)]:
        path.unlink(missing_ok=True)
