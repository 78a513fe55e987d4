"""The task's metric of each question: as a whole run scores it, stored, and in the ranking."""

from pathlib import Path

import pytest

from analysis.evaluation.evaluate import evaluate_network
from analysis.evaluation.lost_score import lost_score
from analysis.runs.run_store import RunStore
from analysis.sensitivity.analyze import analyze_exactly, kept_sensitivity
from analysis.sensitivity.exact import task_scores
from analysis.sensitivity.exact.executors import Serial
from analysis.sensitivity.ranking import HarmMetric, available_metrics, rank_scores
from analysis.sensitivity.sweep import Sweep, View
from figures.sensitivity.wording import harm_title
from quant.config import uniform_config
from quant.progress import drain_steps
from quant.simulation.plan import Side
from quant.simulation.quant_graph import quantize_graph
from tests.analysis.diagnosis.head.yolo_network import yolo_study

LAYERS = ("stem", "head")


def sweep(view: View, *layers: str) -> Sweep:
    config = uniform_config(8, 8)
    return Sweep(config, (3,), (Side.WEIGHTS, Side.ACTIVATIONS), view, layers or LAYERS)


@pytest.mark.parametrize("view", View)
def test_a_question_loses_what_a_whole_run_loses(view: View) -> None:
    study = yolo_study()
    found = drain_steps(analyze_exactly(study, sweep(view), Serial()))
    assert found.metric_name == "mAP"
    assert len(found.scores) == 4
    config = uniform_config(3, 3)
    graph = quantize_graph(study.network.graph, config, study.known_statistics.statistics)
    for score in found.scores:
        question = score.question
        one = graph.only_layer if view is View.ONLY else graph.all_but_layer
        with graph.only_side(question.side), one(question.layer, question.side):
            scored = evaluate_network(study.network, graph, study.scored_images, study.metric)
            wanted = lost_score(drain_steps(scored))
        assert wanted is not None
        assert score.task_loss == pytest.approx(wanted.points, abs=0.5)
        assert score.task_loss_ci95 is not None
        assert score.task_loss_ci95.low <= score.task_loss_ci95.high
    assert (len(found.whole) > 0) == (view is View.ALL_BUT)
    assert all(score.task_loss is not None for score in found.whole)


def test_losses_are_kept_and_lead_the_ranking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = yolo_study().with_store(RunStore(tmp_path))
    asked = sweep(View.ONLY, "stem")
    found = drain_steps(analyze_exactly(study, asked, Serial()))
    assert available_metrics(found)[0] is HarmMetric.TASK
    monkeypatch.setattr(task_scores, "_measure_losses", None)  # nothing is measured again
    again = drain_steps(analyze_exactly(study, asked, Serial()))
    assert again.scores == found.scores == kept_sensitivity(study, asked).scores
    (worst,) = rank_scores(found, HarmMetric.TASK, Side.WEIGHTS, 3)
    assert worst.task_loss is not None
    assert "of the metric lost" in harm_title(found, HarmMetric.TASK, Side.WEIGHTS, 3)
