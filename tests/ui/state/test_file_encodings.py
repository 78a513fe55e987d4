"""Which configurations a file's grids belong to: its own, what edits make of it, none else."""

from quant.config import uniform
from quant.file_encodings import Given
from quant.passes.correct_bias import CorrectBias
from quant.passes.equalize import Equalize
from quant.passes.use_grids import UseGrids
from ui.state.file_encodings import FileGrids

OWN, EDITED, OTHER = uniform(8, 8), uniform(8, 6), uniform(4, 4)


def started() -> tuple[FileGrids, Given]:
    given = Given("file", OWN, {})
    grids = FileGrids()
    grids.start(given)
    return grids, given


def test_edits_keep_them_and_others_do_without() -> None:
    grids, given = started()
    assert grids.of(OWN) is given
    assert grids.of(OTHER) is None
    grids.follow(OWN, EDITED)
    assert grids.of(EDITED) is given
    grids.follow(OTHER, uniform(3, 3))
    assert grids.of(uniform(3, 3)) is None


def test_calibrating_one_configuration_leaves_the_others() -> None:
    grids, given = started()
    grids.follow(OWN, EDITED)
    grids.stop(EDITED)
    assert grids.of(EDITED) is None
    assert grids.of(OWN) is given


def test_they_come_first_unless_weights_change() -> None:
    grids, _ = started()
    (first, second) = grids.before(OWN, (CorrectBias(),))
    assert isinstance(first, UseGrids)
    assert first.source == "file"
    assert second == CorrectBias()
    assert grids.before(OWN, (Equalize(),)) == (Equalize(),)
    assert grids.before(OTHER, (CorrectBias(),)) == (CorrectBias(),)
    assert FileGrids().before(OWN) == ()
