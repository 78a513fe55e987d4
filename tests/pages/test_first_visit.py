import json
from pathlib import Path

import pytest

from tests.analysis.results import layer_cost, report, run
from tests.pages.visit import CONFIGURE, MODEL, RUNS, Visit, held_jobs, leave_choices, model_choice
from ui.frame.workspace_registry import process_registry
from ui.state.last_choices import SNAPSHOT

DEFAULT = "W8A8 per-channel"


def test_opening_the_app_lands_on_a_sample_ready_to_run() -> None:
    with held_jobs():
        visit = Visit()
        assert visit.work.runner.active_jobs, "the frame must show the measurement, not only a card"
    assert [title.value for title in visit.at.title] == ["Model"]
    assert visit.work.network is not None
    assert visit.work.network.name == "fashion-mobilenet"
    assert visit.work.parts is not None
    assert len(visit.work.parts.score) == 2000
    assert "being measured" in visit.metric("Float top-1").delta
    assert "Run it and see" in visit.links()
    visit.open(RUNS)
    assert not next(b for b in visit.at.button if b.label == "Run").disabled


def test_the_float_accuracy_appears_by_itself_and_is_kept(runs: Path) -> None:
    leave_choices(runs)
    visit = Visit().wait()
    top1 = visit.metric("Float top-1")
    assert top1.value.endswith(" %")
    assert float(top1.value.split()[0]) > 85
    assert "(95 %)" in top1.delta
    again = Visit()
    assert again.metric("Float top-1").value == top1.value
    assert again.work.runner.ended == 0


def test_a_cancelled_measurement_does_not_start_again(runs: Path) -> None:
    # images that no other test scores
    leave_choices(runs, data={"source": "fashion", "calibration": 32, "samples": 300})
    with held_jobs():
        visit = Visit()
        for job in visit.work.runner.active_jobs:
            job.cancel()
    visit.wait()
    visit.run()
    assert visit.metric("Float top-1").value == "?"
    assert visit.metric("Float top-1").delta == "stopped"
    assert not visit.work.runner.active_jobs


@pytest.mark.parametrize("page", [MODEL, CONFIGURE, RUNS])
def test_every_page_opens_and_shows_the_frame(visit: Visit, page: str) -> None:
    visit.open(page)
    frame = "\n".join(str(c.value) for c in visit.at.sidebar.caption)
    for value in ("fashion-mobilenet", "200 images", visit.work.machine.title, DEFAULT):
        assert value in frame
    assert (visit.at.button(key="frame.undo").label, visit.at.button(key="frame.redo").label) == (
        "Undo (0)",
        "Redo",
    )


@pytest.mark.parametrize("page", [MODEL, CONFIGURE, RUNS])
def test_a_page_without_a_model_says_so_and_links(visit: Visit, page: str) -> None:
    visit.work.forget_model()
    visit.open(page)
    assert "model" in visit.at.info[0].value
    if page == MODEL:
        assert any(b.key == "model.use.fashion-resnet" for b in visit.at.button)
    else:
        assert visit.links()[0].startswith("Choose")


def test_without_data_costs_are_there_and_runs_say_what_is_missing(visit: Visit) -> None:
    visit.press("model.use.efficientnet-lite0").wait()
    assert visit.work.parts is None
    assert "comes without images" in visit.words
    assert visit.metric("Float top-1").delta == "needs images"
    visit.open(CONFIGURE)
    assert visit.metric("Energy per image").value.endswith("J")
    visit.open(RUNS)
    assert [i.value for i in visit.at.info] == [
        "A run needs a model and images.",
        "No runs yet.",
    ]
    assert "Choose them" in visit.links()
    assert all(button.label != "Run" for button in visit.at.button)


def test_without_runs_the_page_says_how_to_get_one(visit: Visit) -> None:
    visit.open(RUNS)
    assert visit.at.info[0].value.startswith("No runs yet. Press Run")
    assert not visit.at.get("plotly_chart")


def test_the_last_choices_are_found_again(runs: Path, visit: Visit) -> None:
    visit.open(CONFIGURE)
    visit.choose("configure.preset", "W4A8 per-channel").press("configure.apply")
    visit.choose(f"configure.machine.{visit.work.machine.name}", "bitfusion_like")
    process_registry().close_all()
    process_registry.clear()
    later = Visit()
    assert later.work is not visit.work
    assert later.work.experiment.display_name == "W4A8 per-channel"
    assert later.work.config == visit.work.config
    assert later.work.machine.name == "bitfusion_like"
    assert later.work.data == visit.work.data
    assert (runs / SNAPSHOT).is_file()


@pytest.mark.parametrize(
    "text", ["", "no JSON", "[]", "{}", '{"config": {"version": 2}}', '{"config": 3}']
)
def test_choices_that_cannot_be_read_do_no_harm(runs: Path, text: str) -> None:
    runs.mkdir()
    (runs / SNAPSHOT).write_text(text)
    visit = Visit()
    assert visit.work.network is not None
    assert visit.work.network.name == "fashion-mobilenet"
    assert visit.work.config.resolve_layers(visit.work.network.graph.layers)


def test_choices_of_a_model_that_has_gone_fall_back_to_the_sample(runs: Path) -> None:
    leave_choices(runs, model=model_choice("/nowhere/net.pt2"))
    visit = Visit()
    assert visit.work.model.source == "fashion-mobilenet"
    assert visit.work.parts is not None


def test_data_that_have_gone_fall_back_to_the_model_s_own(runs: Path) -> None:
    gone = {"source": "/nowhere/images", "preprocess": "", "calibration": 8, "samples": 9}
    leave_choices(runs, data={**gone, "seed": 0})
    visit = Visit()
    assert visit.work.data.source == "fashion"
    assert visit.work.data_problem == ""


def test_two_tabs_without_a_key_are_strangers(visit: Visit) -> None:
    other = Visit()
    assert other.work is not visit.work
    assert other.work.id != visit.work.id
    visit.open(CONFIGURE).choose("configure.preset", "Float").press("configure.apply")
    other.open(CONFIGURE)
    assert other.work.experiment.display_name == DEFAULT
    assert other.work.experiments.past == []


def test_a_reload_finds_the_same_work(visit: Visit) -> None:
    key = str(visit.at.query_params["w"])
    assert key == visit.work.id
    visit.open(CONFIGURE).choose("configure.preset", "W6A8 per-channel").press("configure.apply")
    reloaded = Visit(key)
    assert reloaded.work is visit.work
    assert "W6A8 per-channel" in reloaded.words


def test_an_unknown_key_makes_a_new_workspace_with_the_last_choices(visit: Visit) -> None:
    visit.open(CONFIGURE).choose("configure.preset", "W6A8 per-channel").press("configure.apply")
    stranger = Visit("feedc0ffee00")
    assert stranger.work.id != "feedc0ffee00"
    assert stranger.at.query_params["w"] == stranger.work.id
    assert stranger.work is not visit.work
    assert stranger.work.experiment.display_name == "W6A8 per-channel"


def test_after_a_restart_each_tab_has_its_own_choices(visit: Visit) -> None:
    other = Visit()
    other.press("model.use.letter-mlp").wait()
    visit.open(CONFIGURE).choose("configure.preset", "W6A8 per-channel").press("configure.apply")
    other.open(CONFIGURE).choose("configure.preset", "W4A8 per-channel").press("configure.apply")
    keys = visit.work.id, other.work.id
    process_registry().close_all()
    process_registry.clear()
    reloaded = [Visit(key) for key in (*keys, keys[0])]
    assert [tab.work.id for tab in reloaded] == [*keys, keys[0]]
    assert reloaded[2].work is reloaded[0].work
    assert [tab.work.model.source for tab in reloaded[:2]] == ["fashion-mobilenet", "letter-mlp"]
    names = [tab.work.experiment.display_name for tab in reloaded[:2]]
    assert names == ["W6A8 per-channel", "W4A8 per-channel"]


def test_the_grids_of_a_file_are_found_again(visit: Visit) -> None:
    visit.use_encodings("blocks.1.expand.0")
    work = Visit("feedc0ffee00").work
    given = work.experiment.encodings
    assert work.experiment.display_name == "encodings of mine.encodings"
    assert given is not None
    assert given.encodings["blocks.1.expand.0"].scale == 0.5


def test_grids_that_are_not_there_any_more_are_told(visit: Visit, runs: Path) -> None:
    visit.use_encodings("blocks.1.expand.0")
    saved = json.loads((runs / SNAPSHOT).read_text())
    saved["experiment"]["encodings"]["text"] = ""  # as if they had been the model's own
    (runs / SNAPSHOT).write_text(json.dumps(saved))
    stranger = Visit("feedc0ffee00")
    assert "must be in the model's own file; it has none" in stranger.words
    assert "encodings" not in stranger.work.experiment.display_name
    assert stranger.work.experiment.encodings is None


def test_the_app_works_without_a_place_for_results_and_says_so(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.mkdir(parents=True, exist_ok=True)
    (runs / "file").write_text("")
    monkeypatch.setenv("QUANTSCOPE_RUNS", str(runs / "file" / "runs"))
    visit = Visit().wait()
    assert "Results are kept in memory only" in visit.words
    visit.work.store.keep_answer("question", 1)
    assert visit.work.store.find_answer("question") == 1


def test_visitors_of_a_shared_server_have_their_own_runs(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_choices(runs, config_name="of the engineer")
    monkeypatch.setenv("QUANTSCOPE_LOCAL_PATHS", "0")
    first, second = Visit(), Visit()
    assert first.work.owner.startswith("session ")
    assert first.work.owner != second.work.owner
    assert "of the engineer" not in first.words
    first.work.store.save_run(run("mine", report(layer_cost("a"))))
    assert [kept.name for kept in first.work.store.all_runs()] == ["mine"]
    assert second.work.store.all_runs() == ()
    first.work.close()
    assert first.work.store.all_runs() == ()
