"""Try a repair on one layer, and measure the effect on the layer alone and on the network."""

from dataclasses import asdict, dataclass

from analysis.diagnosis.diagnose import change_layer_encoding, question_config, sites_of_question
from analysis.diagnosis.remedies import Remedy
from analysis.evaluation.evaluate import Evaluation, evaluate_network
from analysis.evaluation.told_score import ScoreMeasure, told_scores
from analysis.ranges.tensors import RangeBook
from analysis.runs.apply_recipe import apply_whole_recipe, plain_quantized_stage
from analysis.sensitivity.sweep import Question
from analysis.study import Study
from quant.config import LayerConfig, QuantConfig, uniform_config
from quant.passes.adaround import AdaRound
from quant.passes.recipe import Recipe
from quant.progress import Steps, part_of_progress
from quant.simulation.plan import Side
from quant.simulation.quant_graph import QuantGraph
from quant.spec import FLOAT_BITS, QuantSpec, SpecChange


@dataclass(frozen=True, slots=True)
class RemedyTrial:
    """A repair tried on the layer in question, on equal `images` before and after.

    `alone`: the rest of the network is float. `whole`: the rest is as configured; None if the
    repair of a whole network takes too long for a trial.
    """

    question: Question
    title: str
    alone_before: Evaluation
    alone_after: Evaluation
    whole_before: Evaluation | None = None
    whole_after: Evaluation | None = None

    @property
    def image_count(self) -> int:
        """The number of images through both networks."""
        return self.alone_before.samples


def try_layer_remedy(
    study: Study, config: QuantConfig, question: Question, remedy: Remedy
) -> Steps[RemedyTrial]:
    """Measure a layer at the bits in question before and after a repair.

    Passes learn from the study's calibration images; the scored images give the score.

    Raises:
        QuantError: the repair needs images and the study has none, or a range is impossible.
    """
    bench, book = _Bench(study), study.range_book()
    asked = question_config(book, config, question)
    treated = change_layer_encoding(book, asked, question, remedy.weight, remedy.activation)
    solos = [single_layer_config(book, found, question) for found in (asked, treated)]
    alone_before = yield from part_of_progress(
        bench.score_repaired_network(solos[0], (), question), 0.0, 0.2
    )
    alone_after = yield from part_of_progress(
        bench.score_repaired_network(solos[1], remedy.recipe, question), 0.2, 0.5
    )
    if any(isinstance(step, AdaRound) for step in remedy.recipe):
        return RemedyTrial(question, remedy.title, alone_before, alone_after)
    whole_before = yield from part_of_progress(bench.score_repaired_network(asked, ()), 0.5, 0.7)
    whole_after = yield from part_of_progress(
        bench.score_repaired_network(treated, remedy.recipe), 0.7, 1.0
    )
    return RemedyTrial(question, remedy.title, alone_before, alone_after, whole_before, whole_after)


@dataclass(frozen=True, eq=False, slots=True)
class _Bench:
    """Scores quantized forms of one network on equal images."""

    study: Study

    def score_repaired_network(
        self, config: QuantConfig, recipe: Recipe, only: Question | None = None
    ) -> Steps[Evaluation]:
        """Quantize, repair and score; `only` names a layer and switches other encodings off."""
        first = plain_quantized_stage(self.study.network, config, self.study.known_statistics)
        steps = apply_whole_recipe(first, recipe, config, self.study.calibration)
        stage = yield from part_of_progress(steps, 0.0, 0.6 if recipe else 0.0)
        return (
            yield from part_of_progress(
                self._evaluate_layer_alone(stage.quantized, only), 0.6 if recipe else 0.0, 1.0
            )
        )

    def _evaluate_layer_alone(
        self, quantized: QuantGraph, only: Question | None
    ) -> Steps[Evaluation]:
        study = self.study
        work = evaluate_network(study.network, quantized, study.scored_images, study.metric)
        if only is None:
            return (yield from work)
        with quantized.only_layer(only.layer, only.side):
            return (yield from work)


def single_layer_config(book: RangeBook, config: QuantConfig, question: Question) -> QuantConfig:
    """Return the configuration of the layer in question, on the side in question, the rest float.

    Passes then repair only the layer, not the changes of other layers to the input.
    """
    alone = uniform_config(FLOAT_BITS, FLOAT_BITS)
    chosen = config.resolve_layers(book.graph.layers)
    for site in sites_of_question(book, config, question):
        owner = site.shared_with or site.layer
        wish: LayerConfig = chosen[owner]
        if site.side is Side.WEIGHTS:
            alone = alone.with_layer_change(owner, weight=_change_all_fields(wish.weight))
        else:
            alone = alone.with_layer_change(owner, activation=_change_all_fields(wish.activation))
    return alone


def _change_all_fields(spec: QuantSpec) -> SpecChange:
    return SpecChange(**asdict(spec))


def remedy_verdict(trial: RemedyTrial) -> list[str]:
    """Return the effect of a repair, in a sentence for the layer alone and one for the network."""
    lines = [_effect_sentence("Alone", trial.alone_before, trial.alone_after)]
    if trial.whole_before is not None and trial.whole_after is not None:
        lines.append(
            _effect_sentence("In the whole network", trial.whole_before, trial.whole_after)
        )
    return lines


def _effect_sentence(who: str, before: Evaluation, after: Evaluation) -> str:
    old, new = told_scores((before, after))
    effect = f"output SQNR {_format_decibels(before)} → {_format_decibels(after)}"
    if new.measure is not ScoreMeasure.SQNR:
        was = old.amount_text(old.value, 1).removesuffix(" %")
        name = new.name.removesuffix(" with float")
        effect += f", {name} {was} → {new.amount_text(new.value, 1)}"
    return f"{who}: {effect} ({_judge_score_change(before, after)})."


def _format_decibels(found: Evaluation) -> str:
    return f"{found.sqnr_db:.1f} dB" if abs(found.sqnr_db) < 300 else "exact"


def _judge_score_change(before: Evaluation, after: Evaluation) -> str:
    """Return whether a change of the score exceeds chance, or the effect on the noise."""
    old, new = told_scores((before, after))
    ends = None if new.measure is ScoreMeasure.SQNR else new.interval
    if ends is not None and not ends.low <= old.value <= ends.high:
        return "better" if new.gain_over(old) > 0 else "worse"
    if abs(after.sqnr_db - before.sqnr_db) < 0.1 or after.sqnr_db == before.sqnr_db:
        return "no difference"
    quieter = "less" if after.sqnr_db > before.sqnr_db else "more"
    return f"{quieter} noise; the answers differ too little to tell"
