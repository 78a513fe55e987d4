"""What training must show: `python -m benchmarks.training ROW ...`, rows 1 to 10 of the issue.

Each row runs the command line as a user does, and prints one line a case. `resume` kills the
process at random moments with SIGKILL and compares weights with those of a run left alone.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
MOMENTS = 20


def command(runs: Path, out: Path, options: Sequence[str]) -> list[str]:
    """Return the command line of one training."""
    return [
        *(sys.executable, str(ROOT / "cli.py"), "train"),
        *options,
        *("--runs", str(runs), "--json", str(out)),
    ]


def train(options: Sequence[str], runs: Path) -> dict[str, Any]:
    """Train and return the answer."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "answer.json"
        subprocess.run(command(runs, out, options), check=True, cwd=ROOT, capture_output=True)
        answer: dict[str, Any] = json.loads(out.read_text())
        return answer


def tell(title: str, answer: dict[str, Any]) -> None:
    """Print the scores of one training."""
    scores = [answer[part]["top1"] for part in ("float", "before", "quantized")]
    low, high = answer["drop"]["top1_ci95"]
    print(
        f"{title}: float {scores[0]:.2%}, before {scores[1]:.2%}, trained {scores[2]:.2%} "
        f"(float less trained {100 * low:.2f} to {100 * high:.2f} points) on "
        f"{answer['images']['scored']} images; {answer['steps']} steps, {answer['seconds']:.0f} s",
        flush=True,
    )


def bits(model: str, weight: int, activation: int) -> list[str]:
    """Return the options that name a model and its bits."""
    return [
        *("--model", model),
        *("--weight-bits", str(weight), "--activation-bits", str(activation)),
    ]


EPOCH = 343  # of 11 000 images, 32 a step


def accuracy(runs: Path) -> None:
    """Row 1: fashion-mobilenet W4A4, 80 steps and 5 epochs."""
    for steps in (80, 5 * EPOCH):
        answer = train([*bits("fashion-mobilenet", 4, 4), "--steps", str(steps)], runs)
        tell(f"mobilenet W4A4, {steps} steps", answer)


def narrow(runs: Path) -> None:
    """Row 2: W3A3 and W2A4, 5 epochs."""
    for model, weight, activation in (
        ("fashion-mobilenet", 3, 3),
        ("fashion-mobilenet", 2, 4),
        ("fashion-resnet", 2, 4),
    ):
        answer = train([*bits(model, weight, activation), "--steps", str(5 * EPOCH)], runs)
        tell(f"{model} W{weight}A{activation}", answer)


def imbalanced(runs: Path) -> None:
    """Row 3: per-tensor weights of a network that needs equalization, without and with it."""
    options = [*bits("fashion-mobilenet-imbalanced", 4, 8), "--granularity", "per-tensor"]
    for more in ([], ["--equalize"]):
        tell(
            f"imbalanced W4A8 per-tensor {' '.join(more)}",
            train([*options, *more, "--steps", "60"], runs),
        )


def norms(runs: Path) -> None:
    """Row 5: batch norms kept or folded, and dampening at W3A3, three seeds."""
    for seed in ("0", "1", "2"):
        for more in (["--norms", "kept"], ["--norms", "folded"]):
            answer = train(
                [*bits("fashion-mobilenet", 4, 4), "--steps", "200", "--seed", seed, *more], runs
            )
            tell(f"W4A4 seed {seed} {more[1]}", answer)
        for dampening in ("0", "0.1"):
            options = ["--steps", "200", "--seed", seed, "--dampening", dampening]
            tell(
                f"W3A3 seed {seed} dampening {dampening}",
                train([*bits("fashion-mobilenet", 3, 3), *options], runs),
            )


def blending(runs: Path) -> None:
    """Row 6: straight-through, alpha-blending and the blend with its gradient, on letter-mlp."""
    arms = {
        "STE": ["--method", "learned-step"],
        "AB": ["--method", "alpha-blend", "--blend-gradient", "blend"],
        "blend with STE": ["--method", "alpha-blend", "--blend-gradient", "straight"],
    }
    for width in (1, 2, 4, 8):
        for steps in (200, 1000, 5000):
            for optimizer in ("adam", "sgd"):
                for name, arm in arms.items():
                    options = ["--steps", str(steps), "--optimizer", optimizer, *arm]
                    more = ["--batch", "128", "--loss", "labels"]
                    answer = train([*bits("letter-mlp", width, 8), *options, *more], runs)
                    tell(f"letter-mlp W{width} {steps} {optimizer} {name}", answer)


def resume(runs: Path) -> None:
    """Row 8: SIGKILL at random moments; the next call must end at the same bits."""
    options = [*bits("letter-mlp", 2, 8), "--steps", "60", "--batch", "64", "--samples", "100"]
    options += ["--write-every", "0"]
    whole = train(options, runs / "whole")
    wanted = Path(whole["state"]).read_bytes()
    chance = random.Random(0)
    equal = 0
    for moment in range(MOMENTS):
        folder = runs / f"killed {moment}"
        kills = _kill_until_done(command(folder, runs / "out.json", options), chance)
        found = next((folder / "trainings").glob("*.safetensors"))
        same = _tensors(found) == _tensors_of(wanted)
        equal += same
        print(f"moment {moment}: {kills} kills, {'equal' if same else 'DIFFERENT'}", flush=True)
    print(f"resume: {equal} of {MOMENTS} bit-equal", flush=True)


def _kill_until_done(line: list[str], chance: random.Random) -> int:
    """Start a training, kill it once while it trains, and start it again; return the kills."""
    kills = 0
    while True:
        process = subprocess.Popen(
            line, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        assert process.stderr is not None
        if kills == 0:
            for text in process.stderr:
                if "Looked" in text or "Training: step" in text:
                    break
            time.sleep(chance.random() * 2)
            process.send_signal(signal.SIGKILL)
            kills += 1
            process.wait()
            continue
        process.communicate()
        return kills


def _tensors(path: Path) -> dict[str, bytes]:
    return _tensors_of(path.read_bytes())


def _tensors_of(content: bytes) -> dict[str, bytes]:
    """Return the bytes of each tensor in a safetensors file."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    body = content[8 + length :]
    return {
        name: body[slice(*entry["data_offsets"])]
        for name, entry in header.items()
        if name != "__metadata__"
    }


CASES = (
    ("letter-mlp", 1, 8),
    ("letter-mlp", 2, 8),
    ("letter-mlp", 2, 4),
    ("letter-mlp", 3, 8),
    ("letter-mlp", 3, 4),
    ("letter-mlp", 4, 4),
    ("letter-mlp", 4, 8),
    ("letter-mlp", 8, 8),
    ("fashion-resnet", 4, 4),
    ("fashion-mobilenet", 4, 4),
)
ITERATIONS = {
    "quantization without repair": [],
    "equalization": ["--equalize"],
    "AdaRound": ["--adaround", "300"],
}


def forecast(runs: Path) -> None:
    """Row 9: what `--ask` expects, against a training scored beside the same repair.

    The sign is right where an expected gain came, where none was expected and none came, and where
    it could not be shown and the gain is within its own interval of zero.
    """
    right = 0
    for model, weight, activation in CASES:
        options = [*bits(model, weight, activation), "--steps", "400", "--samples", "4000"]
        expected = train([*options, "--ask"], runs)
        trained = train(options, runs)
        repaired = evaluate([*bits(model, weight, activation), *ITERATIONS[expected["best"]]])
        low, high = (100 * end for end in expected["gain"])
        gain = 100 * (trained["quantized"]["top1"] - repaired["quantized"]["top1"])
        noise = 100 * 1.96 * (2 * 0.05 / 4000) ** 0.5  # two scores that differ on 5 % of the images
        verdict = "gain" if low > 0 else "none" if high <= 0 else "open"
        fits = {"gain": gain > 0, "none": gain <= 0, "open": abs(gain) <= max(high, noise)}[verdict]
        right += fits
        print(
            f"{model} W{weight}A{activation}: expected {low:+.1f} to {high:+.1f} over "
            f"{expected['best']} ({verdict}), came {gain:+.1f}: {'right' if fits else 'WRONG'}",
            flush=True,
        )
    print(f"forecast: {right} of {len(CASES)} right", flush=True)


def evaluate(options: Sequence[str]) -> dict[str, Any]:
    """Score a repaired network on 4 000 images and return the answer."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "answer.json"
        line = [sys.executable, str(ROOT / "cli.py"), "evaluate", *options]
        line += ["--samples", "4000", "--json", str(out)]
        subprocess.run(line, check=True, cwd=ROOT, capture_output=True)
        answer: dict[str, Any] = json.loads(out.read_text())
        return answer


def memory(runs: Path) -> None:
    """Row 4: the peak that `--ask` states, against the peak of the training that follows."""
    for model in ("letter-mlp", "fashion-mobilenet", "fashion-resnet"):
        options = [*bits(model, 4, 4), "--steps", "60", "--samples", "200"]
        stated = train([*options, "--ask"], runs)["cost"]["memory_bytes"]
        with tempfile.TemporaryDirectory() as folder:
            line = command(runs, Path(folder) / "answer.json", options)
            process = subprocess.Popen(line, cwd=ROOT, stderr=subprocess.DEVNULL)
            _, _, used = os.wait4(process.pid, 0)
        found = used.ru_maxrss * 1024
        print(
            f"{model}: stated {stated / 2**20:.0f} MiB, needed {found / 2**20:.0f} MiB "
            f"({found / stated - 1:+.0%})",
            flush=True,
        )


ROWS = {
    "forecast": forecast,
    "memory": memory,
    "accuracy": accuracy,
    "narrow": narrow,
    "imbalanced": imbalanced,
    "norms": norms,
    "blending": blending,
    "resume": resume,
}


def main() -> None:
    """Run the rows that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="+", choices=ROWS)
    parser.add_argument("--runs", type=Path, default=Path(tempfile.gettempdir()) / "training-rows")
    given = parser.parse_args()
    for row in given.rows:
        ROWS[row](given.runs)


if __name__ == "__main__":
    main()
