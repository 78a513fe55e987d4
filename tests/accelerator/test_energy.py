"""Prices against the published numbers they stand for, and energies counted by hand."""

import json
from dataclasses import replace

import pytest

from accelerator import Energy, Op, OpKind, TensorInfo, Workload, estimate_workload, load_preset
from accelerator.machine import Requant
from accelerator.parts import FittedMac
from accelerator.prices import mac_energy_pj, set_access_prices, sram_pj_per_bit
from accelerator.technology import scale_between_nodes
from tests.accelerator.networks import alone, conv, linear, resnet18

GENERIC = load_preset("horowitz45_generic")
EDGE = load_preset("edge_systolic_8b")


@pytest.mark.parametrize(("bits", "pj"), [(8, 0.2), (32, 3.1)])
def test_horowitz_multiplications(bits: int, pj: float) -> None:
    assert mac_energy_pj(GENERIC, bits, bits, 0, 1.0) == pytest.approx(pj, abs=5e-4)


def test_horowitz_mac_adds_into_32_bits() -> None:
    assert mac_energy_pj(GENERIC, 8, 8, 32, 1.0) == pytest.approx(0.3, abs=5e-4)


@pytest.mark.parametrize(("bits", "pj"), [(2, 0.0407), (4, 0.0824), (8, 0.2034), (16, 0.6027)])
def test_synthesised_macs(bits: int, pj: float) -> None:
    """BitFusion results/systolic_array_synth.csv at 04ec1c8."""
    assert mac_energy_pj(load_preset("synth45_fixed"), bits, bits, 32, 1.0) == pytest.approx(
        pj, rel=4e-3
    )


def test_fusion_units_cost_a_cycle_whatever_they_fuse() -> None:
    machine = load_preset("bitfusion_like")
    energies = [mac_energy_pj(machine, bits, bits, 32, (8 / bits) ** 2) for bits in (8, 4, 2)]
    assert energies == pytest.approx([0.459188, 0.114797, 0.028699], rel=1e-4)


@pytest.mark.parametrize(
    ("size", "pj"),
    [
        (64, 0.021),
        (128, 0.021),
        (4096, 0.107),
        (8192, 0.15625),
        (16_384, 0.221),
        (32_768, 0.3125),
        (1 << 20, 1.5625),
    ],
)
def test_buffer_prices(size: int, pj: float) -> None:
    assert sram_pj_per_bit(size) == pytest.approx(pj, rel=1e-3)


def test_buffer_prices_grow_with_size() -> None:
    prices = [sram_pj_per_bit(64 << i) for i in range(24)]
    assert prices == sorted(prices)


@pytest.mark.parametrize(
    ("node", "factor"), [(65, 1.25), (45, 1.0), (32, 0.64), (20, 0.24), (16, 0.19), (7, 0.10)]
)
def test_technology_factors(node: int, factor: float) -> None:
    assert scale_between_nodes(45, node) == pytest.approx(factor, abs=0.006)
    assert scale_between_nodes(45, node) * scale_between_nodes(node, 45) == pytest.approx(1.0)


def test_unknown_technology_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a technology must be one of .* nm, got 28"):
        scale_between_nodes(45, 28)


def test_prices_follow_the_node() -> None:
    at_65 = set_access_prices(replace(GENERIC, technology_nm=65)).sram
    at_45 = set_access_prices(GENERIC).sram
    assert at_65.input_read_pj_per_bit == pytest.approx(1.2535 * at_45.input_read_pj_per_bit, 1e-3)


def test_a_linear_layer_by_hand() -> None:
    """64 to 10 on the generic array: one row through 2 folds of 32 x 10."""
    energy = estimate_workload(alone(linear("fc", 64, 10)), GENERIC).energy
    macs, sram = 640, sram_pj_per_bit(65536)
    assert energy.mac_pj == pytest.approx(macs * 0.3, rel=1e-3)
    assert energy.register_pj == pytest.approx(macs * 0.0013 * (8 + 2 * 32))
    assert energy.dram_pj == pytest.approx(20.3125 * 8 * (640 + 64 + 10))
    assert energy.requant_pj == pytest.approx(10 * 3.3)
    reads = 8 * 640 + 8 * 64 + 32 * 10 + 8 * 10  # weights, inputs, partial sums, output to DRAM
    writes = 8 * 640 + 8 * 64 + 32 * 10 + 8 * 10
    assert energy.sram_pj == pytest.approx(sram * (reads + writes))
    assert (energy.noc_pj, energy.static_pj) == (0, 0)


@pytest.mark.parametrize(
    ("requant", "pj"), [(Requant.MULTIPLY, 3.3), (Requant.SHIFT, 0.2), (Requant.NONE, 0.0)]
)
def test_requantization_per_output(requant: Requant, pj: float) -> None:
    machine = replace(GENERIC, post=replace(GENERIC.post, requant=requant))
    energy = estimate_workload(alone(conv("x", 8, 8, 10)), machine).energy
    assert energy.requant_pj == pytest.approx(800 * pj)


def test_static_power_lasts_as_long_as_the_network() -> None:
    report = estimate_workload(resnet18(), load_preset("tpu_v1_like"))
    assert report.energy.static_pj == pytest.approx(28.0 * report.latency_s * 1e12)


def elementwise(kind: OpKind, *, multiply: bool = False, bits: int = 8) -> Workload:
    op = Op(
        "x",
        kind,
        ("a", "b"),
        "y",
        multiply=multiply,
        activation_bits=bits,
        output_bits=bits,
        kernel_h=2,
        kernel_w=2,
    )
    tensors = tuple(TensorInfo(name, 6400, bits) for name in ("a", "b", "y"))
    return Workload("x", (op,), tensors, ("a", "b"), ("y",))


def test_elementwise_pool_and_vector_by_hand() -> None:
    add = estimate_workload(elementwise(OpKind.ELTWISE), GENERIC)
    assert (add.cycles, add.macs, add.bops) == (200, 0, 0)
    assert add.energy.mac_pj == pytest.approx(6400 * 0.1)
    assert add.dram_bits == 3 * 6400 * 8
    product = estimate_workload(elementwise(OpKind.ELTWISE, multiply=True), GENERIC)
    assert product.energy.mac_pj == pytest.approx(6400 * 0.3, rel=1e-3)
    pool = estimate_workload(elementwise(OpKind.POOL), GENERIC)
    assert pool.cycles == 4 * 200
    assert pool.energy.mac_pj == pytest.approx(4 * 6400 * 8 * 0.1 / 32)
    vector = estimate_workload(elementwise(OpKind.VECTOR), GENERIC)
    assert vector.cycles == 8 * 200
    assert vector.layers[0].warnings == ()


def test_vector_ops_go_to_the_host_where_no_unit_is() -> None:
    report = estimate_workload(elementwise(OpKind.VECTOR), load_preset("eyeriss_like"))
    assert report.layers[0].on_host
    assert "no vector unit" in report.layers[0].warnings[0]
    assert report.energy_pj > 0


def test_ethos_adds_as_vela_counts() -> None:
    """Vela 5.2.0: 56 x 56 x 64 added in 150,528 cycles on the U55-256."""
    tensors = tuple(TensorInfo(name, 200_704, 8) for name in ("a", "b", "y"))
    net = Workload("x", (Op("x", OpKind.ELTWISE, ("a", "b"), "y"),), tensors, ("a", "b"), ("y",))
    assert estimate_workload(net, load_preset("ethos_u55_256_like")).cycles == 150_528


def test_float_sums_are_float() -> None:
    report = estimate_workload(elementwise(OpKind.ELTWISE, bits=32), GENERIC)
    assert report.energy.mac_pj == pytest.approx(6400 * 0.9)
    assert report.energy.requant_pj == 0


def test_energies_add() -> None:
    parts = Energy(1, 2, 3, 4, 5, 6, 7) + Energy(dram_pj=10)
    assert parts == Energy(1, 2, 3, 4, 15, 6, 7)
    assert parts.total_pj == 38


def test_latency_and_bound() -> None:
    """A classifier waits for its weights; the array's time shows by an eighth."""
    report = estimate_workload(alone(linear("fc", 512, 1000)), EDGE)
    layer = report.layers[0]
    dram_cycles = 8 * (512_000 + 512 + 1000) / 64
    assert layer.bound == "dram"
    assert layer.latency_s == pytest.approx((dram_cycles + layer.cycles / 8) / 5e8)
    serial = estimate_workload(alone(linear("fc", 512, 1000)), replace(EDGE, pipeline_tiles=1))
    assert serial.latency_s == pytest.approx((dram_cycles + layer.cycles) / 5e8)
    assert estimate_workload(alone(conv("x", 64, 64, 56)), EDGE).layers[0].bound == "compute"
    narrow = replace(EDGE, sram=replace(EDGE.sram, bits_per_cycle=8.0))
    assert estimate_workload(alone(conv("x", 64, 64, 56)), narrow).layers[0].bound == "sram"


def test_roofline() -> None:
    report = estimate_workload(resnet18(), EDGE)
    assert report.peak_macs_per_s == 1024 * 5e8
    assert report.ridge_macs_per_byte == 128
    layer = report.layers[0]
    assert layer.intensity_macs_per_byte == pytest.approx(8 * layer.macs / layer.dram_bits)
    fused = estimate_workload(alone(conv("x", 64, 64, 14, w=2, a=2)), load_preset("bitfusion_like"))
    assert fused.peak_macs_per_s == 16 * 512 * 5e8


def test_bops_of_resnet18() -> None:
    """1.8 G MACs (He et al. 2016) times 4 x 8 bit."""
    report = estimate_workload(resnet18(8, 4), EDGE)
    assert report.macs == 1_814_073_344
    assert report.bops == 32 * report.macs


def test_a_report_becomes_json() -> None:
    report = estimate_workload(resnet18(), EDGE)
    plain = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert plain["machine"] == "edge_systolic_8b"
    assert plain["energy_pj"] == pytest.approx(report.energy_pj)
    first = plain["layers"][0]
    assert (first["layer"], first["kind"], first["macs"]) == ("op0", "conv", 118_013_952)
    assert first["energy"]["dram_pj"] == pytest.approx(report.layers[0].energy.dram_pj)
    assert plain["layers"][5]["intensity_macs_per_byte"] is not None


def test_fit_is_a_part_of_the_preset() -> None:
    assert isinstance(GENERIC.energy.mac, FittedMac)
    assert GENERIC.energy.mac.k2_pj_per_bit2 == 0.002994791667
