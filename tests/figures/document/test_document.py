"""The report's file: it loads nothing, holds the exact numbers, and no name breaks it."""

import base64
import gzip
import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from accelerator.machine import Machine, load_preset
from accelerator.report import CostReport, Energy
from analysis.cost.quantity import Quantity
from analysis.evaluation.measures import Interval
from analysis.evaluation.told_score import ScoreMeasure, ToldScore
from analysis.reporting.contents import LayerChoice, ModelFacts, Repairs, Report, ReportOrigin
from analysis.reporting.trade_off import TradeOff, TradePoint
from analysis.runs.run_store import Run
from analysis.sensitivity.sweep import CellScore, Depth, Question, Sensitivity, Sweep
from figures.document import render_report
from figures.document.markup import Html, bullet_list, exact_number, html_element
from figures.document.plots import plotly_library, script_json
from figures.tradeoffs.report_front import trade_off_chart
from quant.config import uniform_config
from quant.simulation.plan import Side
from tests.analysis.results import evaluation, layer_cost, report, run, unlabelled

HOSTILE = '</script><script>alert(1)</script><img src=x onerror="alert(2)">&\'"\u2028'
PARTS = Energy(mac_pj=1.5, dram_pj=60.25, sram_pj=7.125)
LIMIT_BYTES = 5_000_000


def cost(layers: int = 3) -> CostReport:
    return report(
        *(layer_cost(f"layer.{i}", PARTS, latency_s=1e-6 * (i + 1)) for i in range(layers)),
        machine="bitfusion_like",
    )


def measured(**changes: object) -> Run:
    found = run("plain", cost(), evaluation(lost=30, won=7, samples=777, hits=701))
    return replace(found, config=uniform_config(4, 8).to_dict(), **changes)  # type: ignore[arg-type]


def contents(found: Run | None = None, **changes: object) -> Report:
    made = Report(
        run=found or measured(),
        machine=load_preset("bitfusion_like"),
        model=ModelFacts((3, 8, 8), (10,), 3, 2, 1234, 56789, cost(), cost()),
        choices=tuple(
            LayerChoice(f"layer.{i}", "conv", 4, "per-channel", 8, "per-tensor") for i in range(3)
        ),
        sensitivity=None,
        noise={},
        suspects=(),
        repairs=None,
        front=None,
        others=(),
        origin=ReportOrigin("fashion-resnet", "bitfusion_like"),
        notes=(),
        missing=("Nothing ran on the machine.",),
        created="2026-01-02T03:04:05+00:00",
    )
    return replace(made, **changes)  # type: ignore[arg-type]


class Elements(HTMLParser):
    """Elements with their attributes, what `data` elements carry, and the scripts' text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: dict[str, str] = {}
        self.words = ""
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        known = dict(attributes)
        self.found.append((name, known))
        self._inside = f"{name} {known.get('id') or known.get('class') or len(self.found)}"

    def handle_endtag(self, _name: str) -> None:
        self._inside = ""

    def handle_data(self, text: str) -> None:
        if self._inside.startswith("script"):
            key = f"{self._inside}.{len(self.scripts)}"
            self.scripts[key if "figure" in key else self._inside] = text
        elif not self._inside.startswith("style"):
            self.words += text

    def values(self) -> list[str]:
        return [str(known["value"]) for name, known in self.found if name == "data"]


def front(chosen: str = "plain") -> TradeOff:
    ends = Interval(0.0, 0.1)
    points = tuple(TradePoint(f"Mixed {i}", 1e6 * i, 0.1 / i, ends, 10.0 * i) for i in (1, 2, 3))
    return TradeOff(
        "bitfusion_like", Quantity.ENERGY, labelled=True, predicted=points, references=
        (TradePoint("W8A8", 4e6, 0.01, ends, 40.0),),
        measured=(TradePoint("Mixed 2", 2e6, 0.043, Interval(0.02, 0.06), 21.0),),
        chosen=TradePoint(chosen, 2.5e6, 0.0296, Interval(0.01, 0.05), 20.0),
    )  # fmt: skip


def test_the_front_of_a_table_costs_by_the_row() -> None:
    title = trade_off_chart(replace(front(), noun="row")).layout.xaxis.title.text
    assert title == "Energy per row (µJ), lower is better"


def sensitivity() -> Sensitivity:
    scores = tuple(
        CellScore(Question(f"layer.{i}", 4, Side.WEIGHTS), Depth.EXACT, 99, 20.0 + i,
              accuracy_drop=0.01 * i, accuracy_drop_ci95=Interval(0.0, 0.1))
        for i in range(3)
    )  # fmt: skip
    return Sensitivity(Sweep(uniform_config(8, 8)), Depth.EXACT, 99, 0.9, scores)


class TestNothingIsLoaded:
    def test_no_address_stands_in_the_file(self) -> None:
        text = render_report(contents(front=front(), sensitivity=sensitivity()))
        assert not re.findall(r"https?:|//cdn|@import|\burl\(", text)

    def test_no_element_names_another_file(self) -> None:
        for name, known in Elements(render_report(contents())).found:
            assert not {"src", "srcset", "action", "data-src"} & set(known), (name, known)
            assert name not in ("link", "iframe", "object", "embed", "base", "img")
            assert str(known.get("href", "#")).startswith("#")

    def test_the_browser_is_told_to_fetch_nothing(self) -> None:
        policy = next(
            str(known["content"])
            for name, known in Elements(render_report(contents())).found
            if name == "meta" and known.get("http-equiv") == "Content-Security-Policy"
        )
        assert "default-src 'none'" in policy
        assert "connect-src" not in policy  # which would widen the default

    def test_plotly_is_inside_once_and_whole(self) -> None:
        text = render_report(contents())
        packed = plotly_library()
        assert text.count(packed) == 1
        assert b"plotly.js v" in gzip.decompress(base64.b64decode(packed))[:200]


@pytest.mark.parametrize("layers", [1, 40, 400])
def test_it_stays_under_five_megabytes(layers: int) -> None:
    found = replace(measured(), cost=cost(layers))
    noisy = {layer.layer: 30.0 for layer in found.cost.layers}
    found = replace(found, layer_sqnr_db=noisy)
    everything = contents(
        found, others=(found,) * 12, noise=noisy, front=front(), sensitivity=sensitivity()
    )
    assert len(render_report(everything).encode()) < LIMIT_BYTES


class TestNumbers:
    def test_every_measured_number_is_there_exactly(self) -> None:
        found = measured()
        values = Elements(render_report(contents(found))).values()
        score, price = found.evaluation, found.cost
        for exact in (
            score.quantized_top1, score.float_top1, score.top1_drop, score.agreement,
            score.sqnr_db, price.energy_pj, price.latency_s, price.weight_bytes,
            price.peak_activation_bytes, price.macs, price.bops, price.cycles, found.seed,
            *(layer.energy_pj for layer in price.layers),
            *(layer.latency_s for layer in price.layers),
            *(part for part in price.energy.parts_by_name().values() if part),
        ):  # fmt: skip
            assert repr(exact) in values, exact

    def test_the_run_can_be_read_back_from_the_file(self) -> None:
        from analysis.runs.json_values import result_from_plain

        found = measured()
        scripts = Elements(render_report(contents(found))).scripts
        assert result_from_plain(Run, json.loads(scripts["script run"])) == found
        assert json.loads(scripts["script config"]) == found.config

    def test_intervals_versions_and_digests_are_told(self) -> None:
        found = measured()
        words = Elements(render_report(contents(found))).words.replace("\N{NO-BREAK SPACE}", " ")
        interval = found.evaluation.quantized_top1_ci95
        assert interval is not None
        assert f"{100 * interval.low:.2f} to {100 * interval.high:.2f} %" in words
        trust = "Estimated energy"
        for said in (found.model_digest, found.data_digest, *found.versions.values(), trust):
            assert said in words

    def test_each_source_of_the_machine_is_named(self) -> None:
        words = Elements(render_report(contents())).words.replace("\N{NO-BREAK SPACE}", " ")
        for key, source in load_preset("bitfusion_like").sources:
            assert key in words
            assert source in words

    def test_points_of_the_front_and_the_chosen_one_are_there(self) -> None:
        found = Elements(render_report(contents(front=front("picked"))))
        assert {"1000000.0", "4000000.0", "2500000.0", "0.0296", "0.043"} <= set(found.values())
        assert "picked" in found.words
        assert "chosen, measured" in found.words


class TestHostileNames:
    def hostile(self) -> Elements:
        layer = layer_cost(HOSTILE, PARTS, warnings=(HOSTILE,))
        found = replace(
            measured(), name=HOSTILE, model=HOSTILE, data=HOSTILE, cost=report(layer),
            recipe=(HOSTILE,), layer_sqnr_db={HOSTILE: 3.0}, versions={HOSTILE: HOSTILE},
            id=HOSTILE, model_digest=HOSTILE,
            config={"default": {"weight": {HOSTILE: HOSTILE}},
                    "rules": [{"select": HOSTILE, "weight": {"bits": 4}, "activation": {}}]},
        )  # fmt: skip
        repairs = Repairs(
            ("Plain", HOSTILE),
            (ToldScore(ScoreMeasure.METRIC, HOSTILE, 0.5, interval=Interval(0.4, 0.6)),) * 2,
            (HOSTILE,),
        )
        return Elements(
            render_report(
                contents(
                    found, notes=(HOSTILE,), missing=(HOSTILE,), front=front(HOSTILE),
                    origin=ReportOrigin(HOSTILE, HOSTILE, data=HOSTILE, preprocess='{"a": 1}'),
                    repairs=repairs, noise={HOSTILE: 0.1}, others=(found,),
                    choices=(LayerChoice(HOSTILE, HOSTILE, 4, HOSTILE, 8, HOSTILE, HOSTILE),),
                )
            )
        )  # fmt: skip

    def test_no_element_of_theirs_is_made(self) -> None:
        found, plain = self.hostile().found, Elements(render_report(contents())).found
        assert not [known for name, known in found if name == "img"]
        assert not [known for _, known in found if any(key.startswith("on") for key in known)]
        kinds = {known.get("type") for name, known in found if name == "script"}
        assert kinds == {known.get("type") for name, known in plain if name == "script"}
        assert sum(name == "script" and not known for name, known in found) == 1  # our own

    def test_they_are_shown_as_they_are(self) -> None:
        words = self.hostile().words
        assert words.count("<script>alert(1)</script>") > 5

    def test_figures_hold_no_bracket(self) -> None:
        for key, text in self.hostile().scripts.items():
            if "json" in key or "figure" in key:
                assert "<" not in text
                json.loads(text)


class TestWhatIsNotKnown:
    def test_a_run_alone_makes_a_report(self) -> None:
        found = contents(
            machine=None, model=None, choices=(), suspects=None, origin=None, missing=("one", "two")
        )
        words = Elements(render_report(found)).words
        assert "Not examined: the model was not loaded" in words
        assert "No front of other choices" in words
        assert "its file is not at hand" in words
        assert "onetwo" in words.replace("\n", "")

    def test_without_labels_agreement_takes_accuracys_place(self) -> None:
        found = replace(measured(), evaluation=unlabelled(955))
        words = Elements(render_report(contents(found))).words
        assert "Quantized top-1" not in words
        assert "without labels" in words
        assert repr(0.955) in Elements(render_report(contents(found))).values()

    def test_equal_outputs_are_exact(self) -> None:
        score = replace(evaluation(), sqnr_db=math.inf)
        found = replace(measured(), evaluation=score, layer_sqnr_db={"layer.0": math.inf})
        assert "exact" in Elements(render_report(contents(found))).words

    def test_a_front_by_noise_alone_is_drawn(self) -> None:
        silent = replace(
            front(), predicted=tuple(replace(p, loss=None) for p in front().predicted),
            quantity=Quantity.SIZE,
        )  # fmt: skip
        scripts = Elements(render_report(contents(front=silent))).scripts
        assert any("Output SQNR (dB)" in text for text in scripts.values())


def test_the_first_page_recommends_and_shows_three_large_plots() -> None:
    ends = (Interval(0.45, 0.55), Interval(0.85, 0.9))
    steps = (0.5, ends[0]), (0.87, ends[1])
    ladder = Repairs(
        ("Plain quantization", "Equalize"),
        tuple(
            ToldScore(ScoreMeasure.TOP1, "top-1", value, interval=spread, float_value=0.9)
            for value, spread in steps
        ),
        (),
    )
    text = render_report(
        contents(repairs=ladder, front=front(), author="Ada <b>", note="Until <i>May</i>.")
    )
    page = text.partition('id="notebook"')[0]
    assert "Repair first" in page  # 2.96 points lost, all of the interval above one
    assert "points of top-1" in page
    titles = re.findall(r'aria-label="([^"]*)"', page)
    assert len(titles) == 3
    assert "37.00 points" in titles[0]
    shown = re.findall(r'<p class="takeaway">(.*?)</p>', page)
    assert len(shown) == 3, "titles are text that wraps at the plot's width"
    assert "37.00" in shown[0]
    assert all(int(px) >= 430 for px in re.findall(r'style="height:(\d+)px"', page))
    machine = load_preset("bitfusion_like")
    assert f"{machine.technology_nm:g}" in page.partition("are estimates for")[2]
    assert "by Ada &lt;b&gt;" in text
    assert "Until &lt;i&gt;May&lt;/i&gt;." in page


def test_a_network_within_a_point_is_to_be_deployed() -> None:
    good = replace(measured(), evaluation=evaluation(lost=1, won=1, samples=5000, hits=4500))
    page = render_report(contents(good)).partition('id="notebook"')[0]
    assert ">Deploy<" in page
    assert "No front of other choices of bits was computed" in page


def test_words_of_the_summary_follow_the_interval() -> None:
    for lost, won, said in ((30, 7, "loses 2.96"), (7, 30, "gains 2.96"), (7, 7, "no measurable")):
        score = evaluation(lost=lost, won=won, samples=777, hits=701)
        words = Elements(render_report(contents(replace(measured(), evaluation=score)))).words
        assert said in words.replace("\N{NO-BREAK SPACE}", " ")


def test_markup_escapes_all_but_what_is_marked() -> None:
    assert html_element("p", "<i>", Html("<b>x</b>"), title='"<') == (
        '<p title="&quot;&lt;">&lt;i&gt;<b>x</b></p>'
    )
    assert bullet_list(["a < b"]) == "<ul><li>a &lt; b</li></ul>"
    assert 'value="0.1"' in exact_number("10 %", 0.1)


def test_a_number_stays_with_its_unit_but_a_command_keeps_its_spaces() -> None:
    space = "\N{NO-BREAK SPACE}"
    assert (
        html_element("p", "12 % of 3.5 µJ in 4 layers")
        == f"<p>12{space}% of 3.5{space}µJ in 4 layers</p>"
    )
    assert html_element("pre", "--bits 4 bits") == "<pre>--bits 4 bits</pre>"


def test_json_for_scripts_cannot_end_one() -> None:
    text = script_json({"name": HOSTILE})
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == {"name": HOSTILE}


@pytest.mark.parametrize("machine", [load_preset("bitfusion_like"), None])
def test_a_report_tells_the_machine_in_words(machine: Machine | None) -> None:
    """The id stands where a person types it, in the command, and beside the title once."""
    others = (replace(measured(), id="other", name="other"),)
    for drawn in (front(), replace(front(), chosen=None), None):
        report = contents(front=drawn, machine=machine, others=others)
        found = Elements(render_report(report))
        text = found.words + " ".join(
            value for key, value in found.scripts.items() if "figure" in key
        )
        assert "BitFusion like (16 x 32 fusion units)" in text
        for allowed in ("--machine bitfusion_like", "(bitfusion_like)"):
            text = text.replace(allowed, "")
        assert "bitfusion_like" not in text
