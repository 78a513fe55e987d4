"""What is known of the present model's layers: calibration and sensitivity, without running any."""

from analysis.sensitivity.stored import known_sensitivity
from analysis.sensitivity.sweep import Sensitivity
from quant.config import QuantConfig
from ui.state.workspace import Workspace


def stored_layer_sensitivity(workspace: Workspace, config: QuantConfig) -> Sensitivity | None:
    """Return the exact answers that the run store has for layers quantized alone."""
    study = workspace.study
    return None if study is None or study.scored is None else known_sensitivity(study, config)
