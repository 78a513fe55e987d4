"""Measure and write the float mAP or mIoU of a sample: `python -m benchmarks.task_scores NAME`.

The score of all scenes of the test split goes into the metadata of the weights' file, from which
the registry cites it. Weights that were trained anew need it once.
"""

import argparse

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from analysis.evaluation.tasks.choose_task import decide_task, metric_of
from analysis.evaluation.tasks.kinds import Head
from data_io.bundled import BUNDLED_DATA
from sample_models.registry import METADATA_KEYS, Sample, sample_named

BATCH = 50


def measure_float_metric(sample: Sample, images: int | None = None) -> float:
    """Return the metric of the sample's float network on its test scenes, or on the first ones."""
    data, model = BUNDLED_DATA[sample.dataset].test(), sample.build_network()
    data = data if images is None else data.first(images)
    evidence = None
    with torch.inference_mode():
        for batch in data.batches(BATCH):
            outputs = (model(batch.inputs),)
            if evidence is None:
                shapes = tuple(tuple(one.shape[1:]) for one in outputs)
                kind = decide_task(shapes, batch.targets)
                metric = metric_of(kind, Head.AUTO, sample.input_shape)
                if metric is None or metric.name != sample.metric_name:
                    raise SystemExit(f"{sample.name} is no sample with a task's metric.")
                evidence = metric.collect()
            evidence.add(outputs, batch.targets)
    if evidence is None:
        raise SystemExit(f"{sample.name} has no scenes.")
    return evidence.score(np.ones(len(evidence)))


def main() -> None:
    """Read the command line, measure, and write the metadata."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    sample = sample_named(parser.parse_args().name)
    if sample.weights is None:
        raise SystemExit(f"{sample.name} has no weights of ours.")
    score = measure_float_metric(sample)
    with safe_open(sample.weights, "pt") as file:
        metadata = dict(file.metadata() or {})
    metadata[METADATA_KEYS[sample.metric_name]] = f"{score:.4f}"
    save_file(load_file(sample.weights), sample.weights, metadata)
    print(f"{sample.name}: {sample.metric_name} {score:.4f}")


if __name__ == "__main__":
    main()
