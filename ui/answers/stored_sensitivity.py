"""What is known of the present model's layers: calibration and sensitivity, without running any."""

from analysis.calibration import Calibrated
from analysis.sensitivity.stored import known_sensitivity
from analysis.sensitivity.sweep import Sensitivity
from quant.config import QuantConfig
from ui.state.workspace import Workspace


def layers_known(workspace: Workspace, config: QuantConfig) -> Sensitivity | None:
    """Return the exact answers that the run store has for layers quantized alone."""
    network, parts = workspace.network, workspace.parts
    if network is None or parts is None:
        return None
    known = workspace.calibrated(network, parts) or Calibrated(input_range=parts.input_range)
    return known_sensitivity(network, parts.score, known, config, workspace.store)
