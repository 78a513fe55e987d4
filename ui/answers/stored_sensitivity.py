"""The stored sensitivities of the present model, read without running a network."""

from analysis.sensitivity.stored import stored_sensitivity
from analysis.sensitivity.sweep import Sensitivity
from quant.config import QuantConfig
from ui.state.workspace import Workspace


def stored_layer_sensitivity(workspace: Workspace, config: QuantConfig) -> Sensitivity | None:
    """Return the exact scores in the run store for layers quantized alone."""
    study = workspace.study
    return None if study is None or study.scored is None else stored_sensitivity(study, config)
