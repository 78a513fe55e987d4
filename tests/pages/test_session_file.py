"""A session is saved, and opened again: to go on here, or to look at where its files are not."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from accelerator.machine import load_preset
from analysis.runs.json_values import plain_from_result
from analysis.session_file import DataReference, SessionError, read_session_file, write_session_json
from quant.config import uniform_config
from quant.progress import Progress, Steps
from quant.simulation.plan import Side
from tests.pages.visit import CONFIGURE, MODEL, RUNS, Visit, encodings_of, wait_idle
from ui.answers.sensitivity import start_sweep
from ui.frame.frame import undo_change
from ui.job_kind import JobKind
from ui.jobs import Job
from ui.navigation import EXPORT, RANGES, SENSITIVITY
from ui.runs.forms import start_run
from ui.session.open_session import open_session, present_session
from ui.state.sensitivity import SweepRequest

Names = Callable[[], list[str]]


@pytest.fixture
def saved_session(visit: Visit) -> bytes:
    """The session after one run of W4A8 on bitfusion_like."""
    work = visit.work
    work.set_machine(load_preset("bitfusion_like"))
    work.change(work.experiment.with_config(uniform_config(4, 8)).with_name("four"))
    start_run(work, "<b>first</b>")
    wait_idle(work)
    return write_session_json(present_session(work)).encode()


def changed(content: bytes, **changes: Any) -> bytes:
    """The session with other values; a key such as model__source names one inside another."""
    plain = json.loads(content)
    for key, value in changes.items():
        *parents, last = key.split("__")
        place = plain
        for name in parents:
            place = place[name]
        place[last] = value
    return json.dumps(plain).encode()


def start_afresh(visit: Visit) -> None:
    work = visit.work
    for run in work.store.all_runs():
        work.store.delete_run(run.id)
    work.change(
        work.experiment.with_calibrated_ranges()
        .with_config(uniform_config(8, 8))
        .with_name("other")
    )
    work.set_machine(load_preset("edge_systolic_8b"))


def opened(visit: Visit, content: bytes, how: str = "Open") -> Visit:
    visit.upload("session.file", "a.session.json", content)
    button = next(b for b in visit.at.button if b.label == how)
    button.click()
    return visit.run()


def test_it_holds_what_was_chosen_and_what_came_out(visit: Visit, saved_session: bytes) -> None:
    found, work = read_session_file(saved_session), visit.work
    assert work.network is not None
    assert work.parts is not None
    assert found.model.digest == work.network.digest
    assert found.data is not None
    assert found.data.digest == work.parts.score.digest
    experiment = found.record.experiment
    assert (experiment.config, experiment.display_name) == (uniform_config(4, 8), "four")
    assert experiment.machine.name == "bitfusion_like"
    assert found.runs == work.store.all_runs()


def test_it_is_saved_from_every_page(visit: Visit) -> None:
    for page in (MODEL, CONFIGURE, RUNS):
        visit.open(page)
        labels = [b.proto.label for b in visit.at.sidebar.get("download_button")]
        assert "Save" in labels


def test_one_goes_on_where_it_stopped(visit: Visit, saved_session: bytes, saved: Names) -> None:
    start_afresh(visit)
    opened(visit, saved_session)
    work = visit.work
    assert work.opened is None
    assert work.config == uniform_config(4, 8)
    assert work.experiment.display_name == "four"
    assert work.machine.name == "bitfusion_like"
    assert saved() == ["<b>first</b>"]
    assert "1 run came with it" in visit.words
    undo_change(work)
    assert work.config == uniform_config(8, 8)


def test_the_grids_of_a_file_come_with_it(visit: Visit) -> None:
    work = visit.use_encodings("blocks.1.expand.0").work
    config, given = work.config, work.experiment.encodings
    assert given is not None
    content = write_session_json(present_session(work)).encode()
    start_afresh(visit)
    opened(visit, content)
    again = work.experiment.encodings
    assert work.config == config
    assert again is not None
    assert again is not given
    assert again.encodings["blocks.1.expand.0"].scale == 0.5
    assert "encodings of mine.encodings" in visit.words


def test_a_session_without_its_grids_is_not_called_after_them(
    visit: Visit, saved_session: bytes
) -> None:
    named = changed(saved_session, experiment__encodings=None, experiment__name="")
    assert opened(visit, named).work.experiment.display_name == "W4A8 per-channel"


def test_grids_that_do_not_fit_the_model_leave_the_session_to_be_looked_at(visit: Visit) -> None:
    content = write_session_json(
        present_session(visit.use_encodings("blocks.1.expand.0").work)
    ).encode()
    opened(visit, changed(content, experiment__encodings__text=encodings_of("nobody")))
    assert visit.work.opened is not None
    assert "It can only be looked at." in visit.words
    assert "nobody" in visit.words


def test_runs_that_are_here_are_left_as_they_are(
    visit: Visit, saved_session: bytes, saved: Names
) -> None:
    work = visit.work
    (run,) = work.store.all_runs()
    work.store.rename_run(run.id, "mine")
    opened(visit, saved_session)
    assert saved() == ["mine"]
    assert "0 runs came with it; 1 were here already" in visit.words


class TestOnAnotherMachine:
    def elsewhere(self, content: bytes) -> bytes:
        """The same session as a machine wrote it whose model lies in a file."""
        return changed(content, model__source="/nowhere/net.pt2", model__digest="0" * 64)

    def test_results_can_be_looked_at_and_nothing_run(
        self, visit: Visit, saved_session: bytes, saved: Names
    ) -> None:
        start_afresh(visit)
        opened(visit, self.elsewhere(saved_session)).open(RUNS)
        assert "Read-only session" in visit.words
        assert "/nowhere/net.pt2, which is not on this machine" in visit.words
        assert [run.name for run in visit.work.store.all_runs()] == ["<b>first</b>"]
        assert saved() == []  # nothing of it is among one's own
        labels = {b.label: b for b in visit.at.button}
        assert "Run" not in labels
        assert all(labels[name].disabled for name in ("Rename", "Delete", "Use this configuration"))
        assert visit.metric("Quantized top-1").value.endswith("%")

    def test_closing_it_brings_back_ones_own_work(
        self, visit: Visit, saved_session: bytes, runs: Path
    ) -> None:
        start_afresh(visit)
        visit.work.save_choices()
        network, snapshot = visit.work.network, (runs / "workspace.json").read_text()
        opened(visit, self.elsewhere(saved_session))
        for page in (MODEL, CONFIGURE, RUNS):
            visit.open(page)
        assert (runs / "workspace.json").read_text() == snapshot
        visit.press("session.close")
        assert visit.work.network is network
        assert visit.work.config == uniform_config(8, 8)
        assert visit.work.experiment.display_name == "other"
        assert "Read-only session" not in visit.words

    def test_sensitivities_that_came_with_it_are_shown(self, visit: Visit) -> None:
        work = visit.work
        start_sweep(work, SweepRequest())
        wait_idle(work)
        known = present_session(work)
        assert known.sensitivity is not None
        opened(visit, self.elsewhere(write_session_json(known).encode())).open(SENSITIVITY)
        assert "Screened on 64 images" in visit.words
        assert len(visit.at.get("plotly_chart")) == 3
        layers = {
            s.question.layer for s in known.sensitivity.scores if s.question.side == "weights"
        }
        assert set(visit.at.dataframe[0].value["layer"]) == layers
        assert not {b.key for b in visit.at.button} & {"sensitivity.start", "sensitivity.try.0"}
        assert not visit.work.runner.active_jobs
        switch = next(s for s in visit.at.segmented_control if s.label == "Side")
        switch.set_value(Side.ACTIVATIONS)
        visit.run()
        assert len(visit.at.dataframe[0].value) > len(layers)

    def test_without_sensitivities_the_page_says_that_there_are_none(
        self, visit: Visit, saved_session: bytes
    ) -> None:
        opened(visit, self.elsewhere(saved_session)).open(SENSITIVITY)
        assert "This session holds no sensitivities" in visit.words

    @pytest.mark.parametrize("page", [MODEL, CONFIGURE, EXPORT, RANGES])
    def test_pages_that_need_the_model_say_where_results_are(
        self, visit: Visit, saved_session: bytes, page: str
    ) -> None:
        opened(visit, self.elsewhere(saved_session)).open(page)
        assert "only looked at: its model is not loaded" in visit.words
        assert visit.links() == ["See its runs"], "not a model to choose"

    def test_loading_a_model_ends_it(self, visit: Visit, saved_session: bytes) -> None:
        opened(visit, self.elsewhere(saved_session))
        assert visit.work.opened is not None
        before = visit.work.opened.before
        assert before.study is not None
        visit.work.take_network(before.model, before.study.network)
        assert visit.work.opened is None

    def test_it_can_be_saved_again_as_it_is(self, visit: Visit, saved_session: bytes) -> None:
        content = self.elsewhere(saved_session)
        opened(visit, content)
        assert present_session(visit.work) == read_session_file(content)

    def test_a_second_one_does_not_lose_ones_own_work(
        self, visit: Visit, saved_session: bytes
    ) -> None:
        network = visit.work.network
        session = read_session_file(self.elsewhere(saved_session))
        open_session(visit.work, session)
        open_session(visit.work, session, look=True)
        assert visit.work.opened is not None
        assert visit.work.opened.before.study is not None
        assert visit.work.opened.before.study.network is network


def test_with_look_only_nothing_is_loaded(visit: Visit, saved_session: bytes) -> None:
    opened(visit, saved_session, "Look only")
    assert visit.work.network is None
    assert "nothing can be run" in visit.words


def test_another_model_at_the_same_place_is_told(visit: Visit, saved_session: bytes) -> None:
    content = changed(saved_session, model__digest="0" * 64)
    opened(visit, content)
    assert visit.work.opened is not None
    assert "is another one than the session's" in visit.work.opened.why


def test_other_data_at_the_same_place_are_told(visit: Visit, saved_session: bytes) -> None:
    opened(visit, changed(saved_session, data__digest="0" * 64))
    assert visit.work.opened is not None
    assert "are others than the session's" in visit.work.opened.why
    assert visit.work.network is None


def test_data_that_are_not_here_are_told(visit: Visit, saved_session: bytes) -> None:
    opened(visit, changed(saved_session, data__digest="0" * 64, data__source="/nowhere/images"))
    assert visit.work.opened is not None
    assert "lay at /nowhere/images, which is not on this machine" in visit.work.opened.why


def test_code_that_a_model_names_is_never_run(
    visit: Visit, saved_session: bytes, tmp_path: Path
) -> None:
    trap, mark = tmp_path / "trap.py", tmp_path / "it ran"
    trap.write_text(f"open({str(mark)!r}, 'w').close()\ndef build():\n    return None\n")
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(b"")
    content = changed(
        saved_session, model__digest="0" * 64, model__source=str(weights),
        model__builder=f"{trap}:build",
    )  # fmt: skip
    opened(visit, content)
    assert not mark.exists()
    assert visit.work.opened is not None
    assert "which a session never runs" in visit.work.opened.why


def test_a_server_that_opens_no_path_opens_none_of_a_session(
    visit: Visit, saved_session: bytes, tmp_path: Path
) -> None:
    work = visit.work
    work.settings = replace(work.settings, local_paths=False)
    (tmp_path / "images").mkdir()
    session = read_session_file(saved_session)
    assert session.data is not None
    data = DataReference("x", "y", str(tmp_path / "images"))
    open_session(work, replace(session, data=data))
    assert work.opened is not None
    assert "this server opens none by its path" in work.opened.why


def test_a_machine_of_ones_own_comes_with_it(visit: Visit, saved_session: bytes) -> None:
    plain = json.loads(saved_session)
    machine = replace(load_preset("bitfusion_like"), name="mine")
    plain["experiment"]["machine"] = plain_from_result(machine)
    opened(visit, json.dumps(plain).encode())
    assert visit.work.machine.name == "mine"
    visit.open(CONFIGURE)  # where it can be chosen
    assert "mine" in visit.work.machines


def test_what_is_no_session_is_told_and_changes_nothing(visit: Visit) -> None:
    config = visit.work.config
    visit.upload("session.file", "a.json", b'{"format": "![x](http://a)"}')
    assert any("something else" in error for error in visit.errors)
    assert visit.work.config == config


def test_while_something_runs_none_is_opened(visit: Visit, saved_session: bytes) -> None:
    stop = False

    def steps() -> Steps[None]:
        while not stop:
            yield Progress(0.5, "waiting")

    job = visit.work.runner.submit(Job(JobKind.OTHER, "long", steps, lambda _: None))
    with pytest.raises(SessionError, match="nothing runs"):
        open_session(visit.work, read_session_file(saved_session))
    job.cancel()
    wait_idle(visit.work)


def test_a_name_that_looks_like_markup_is_shown_as_it_is(
    visit: Visit, saved_session: bytes
) -> None:
    content = changed(
        saved_session, model__name="![x](http://a)", model__digest="0", experiment__name="![y](b)",
    )  # fmt: skip
    opened(visit, content).open(RUNS)
    assert "![x]" not in visit.markdown
    assert "![y]" not in visit.markdown
    assert r"!\[x\]" in visit.markdown
