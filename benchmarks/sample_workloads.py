"""Write the stored workloads of the sample networks: `python -m benchmarks.sample_workloads`."""

import json

from analysis.cost.sample_workloads import FILE, store_workload
from analysis.cost.workload import build_workload
from analysis.network import prepare_network
from model_io.load import load_model
from quant.config import uniform_config
from sample_models.registry import SAMPLES

BITS = 8


def write_sample_workloads() -> None:
    """Capture each sample network and write its workload at 8 bits."""
    stored = {}
    for name in SAMPLES:
        loaded = load_model(name)
        network = prepare_network(
            loaded.name, loaded.module, loaded.expected_inputs, loaded.digest, loaded.batch
        )
        workload = build_workload(name, network.graph, uniform_config(BITS, BITS))
        stored[name] = store_workload(workload)
    FILE.write_text(json.dumps(stored, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write_sample_workloads()
