"""Change the configuration, so that the change can be undone."""

from quant.config import QuantConfig
from quant.errors import QuantError
from ui.state.workspace import Workspace


def set_config(workspace: Workspace, config: QuantConfig, name: str | None = None) -> None:
    """Make a configuration the present one if it fits the model, or say why it does not.

    Without a name it is an edit of the present one, which keeps the grids of its file.
    """
    try:
        if workspace.network is not None:
            config.resolve(workspace.network.graph.layers)
    except QuantError as error:
        workspace.notes.append(str(error))
        return
    if name is None:
        workspace.file_grids.follow(workspace.config.present, config)
    else:
        workspace.file_grids.stop(config)
    workspace.config.change(config)
    base = workspace.config_name.removesuffix(", edited")
    workspace.config_name = name or f"{base}, edited"
    workspace.save()


SYMMETRIES = ("symmetric", "asymmetric")
