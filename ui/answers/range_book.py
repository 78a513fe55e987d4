"""The range book of the present network: the tensors with their statistics."""

from analysis.mixed_precision.recipe_noise import repaired_study
from analysis.network import Network
from analysis.ranges.tensors import RangeBook
from analysis.runs.apply_recipe import pass_needs_images, repair_float_network
from analysis.study import Study
from quant.passes.recipe import Recipe, is_float_pass
from quant.progress import Steps
from ui.state.workspace import Workspace


def present_range_book(workspace: Workspace, network: Network) -> RangeBook:
    """Return the distributions of the model before repairs, with activations once calibrated."""
    study = workspace.study
    return (study if study is not None else Study(network)).range_book()


def float_passes(workspace: Workspace) -> Recipe:
    """Return the repairs of the present experiment that change the float network."""
    return tuple(filter(is_float_pass, workspace.experiment.recipe))


def experiment_range_book(workspace: Workspace, network: Network) -> tuple[RangeBook, Recipe]:
    """Return the distributions of the experiment's network, and the float passes it is after.

    Passes that learn from images are left out, with all passes, until a job has run them.
    """
    study = workspace.study
    if study is None:
        return present_range_book(workspace, network), ()
    repaired, passes = study_after_repairs(study, float_passes(workspace))
    return repaired.range_book(), passes


def study_after_repairs(study: Study, passes: Recipe) -> tuple[Study, Recipe]:
    """Return the study after float passes, or the study and no pass where images must teach one."""
    if not passes:
        return study, ()
    if any(map(pass_needs_images, passes)) and not study.holds_repaired(passes):
        return study, ()
    return study.repaired_study(passes, lambda: repair_float_network(study, passes)), passes


def calibrate_experiment(study: Study, passes: Recipe) -> Steps[Study]:
    """Repair the float network and collect the statistics of its activations."""
    return (yield from repaired_study(study, passes))
