"""How long the pages of a deep network take: processor seconds of drawing each page once more.

`python -m benchmarks.large_network [--layers 1000]`. The network is a chain of convolutions of
random weights, brought as a `.pt2` file with 200 random images. At most 0.5 s a page is the aim.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.export import Dim, export, save

from benchmarks.bit_program import chain_parts

REPEATS = 3
AIM_S = 0.5
SHAPE, CLASSES, IMAGES = (3, 16, 16), 10, 200


def write_chain(path: Path, layers: int) -> None:
    """Write a classifier of alternating pointwise and depthwise convolutions."""
    parts, channels = chain_parts(layers, 0, most=48)
    parts += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, CLASSES)]
    model = nn.Sequential(*parts).eval()
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    dims = ({0: Dim("batch", min=1, max=1024)},)
    save(export(model, (torch.zeros(2, *SHAPE),), dynamic_shapes=dims), path)


def write_images(path: Path) -> None:
    """Write random images with random labels."""
    random = np.random.default_rng(0)
    images = random.normal(size=(IMAGES, *SHAPE)).astype(np.float32)
    np.savez(path, inputs=images, labels=random.integers(0, CLASSES, IMAGES))


def main() -> None:
    """Print a row for each page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=1000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model, data, runs = (Path(folder) / name for name in ("chain.pt2", "data.npz", "runs"))
        write_chain(model, given.layers)
        write_images(data)
        os.environ["QUANTSCOPE_RUNS"] = str(runs)
        from tests.pages.visit import ROOT, Visit, data_choice, leave_choices, model_choice  # noqa: PLC0415

        chosen = model_choice(str(model)), data_choice(str(data), samples=100)
        leave_choices(runs, model=chosen[0], data=chosen[1])
        visit = Visit().wait()
        print(f"| page of {given.layers} layers | drawn again, processor s | at most {AIM_S} |")
        print("|---|---|---|")
        for page in sorted((ROOT / "pages").glob("*.py")):
            visit.open(f"pages/{page.name}").wait()
            taken = []
            for _ in range(REPEATS):
                start = time.process_time()
                visit.run()
                taken.append(time.process_time() - start)
            met = "met" if min(taken) <= AIM_S else "missed"
            print(f"| {page.stem} | {min(taken):.2f} | {met} |", flush=True)


if __name__ == "__main__":
    main()
