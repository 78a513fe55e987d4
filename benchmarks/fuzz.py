"""Feed damaged and hostile files to every loader, in a bounded process, and count what happens.

`python -m benchmarks.fuzz --inputs 10000` runs as many inputs; `--seconds 60` for so long. The same
seed makes the same inputs. A loader may return, or raise its own error; anything else is a failure:
another exception, a crash, more than 10 s of a processor, more than 2 GiB, or code that ran.
"""

import argparse
import io
import multiprocessing
import random
import resource
import tempfile
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import accelerator
from benchmarks.fuzz_files import loaders, whole_files

MOST_BYTES = 2 * 1024**3
MOST_S = 10.0
GRACE_S = 50.0
"""Of the clock, besides: the machine may be busy."""
BASE_BYTES = 6 * 1024**3
"""What a process with torch maps before it loads anything, a bound of address space."""


@dataclass(frozen=True)
class Failure:
    """An input that broke a loader."""

    loader: str
    number: int
    what: str


@dataclass
class Tally:
    """What became of the inputs."""

    inputs: int = 0
    accepted: int = 0
    refused: int = 0
    by_loader: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)


def mutated(content: bytes, draw: random.Random) -> bytes:
    """Return a damaged copy: cut, overwritten, swapped, grown, or with hostile values in JSON."""
    if draw.random() < 0.05:
        return draw.randbytes(draw.randrange(0, 2000))
    if content[:1] in (b"{", b"[") and draw.random() < 0.7:
        return _mutated_json(content, draw)
    if content[:2] == b"PK" and draw.random() < 0.7:
        return _mutated_zip(content, draw)
    changed = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 4, 16, 64))):
        place = draw.randrange(max(1, len(changed)))
        match draw.randrange(6):
            case 0:
                del changed[place:]
            case 1:
                changed[place : place + 1] = draw.randbytes(1)
            case 2:
                changed[place : place + 8] = draw.choice((b"\xff" * 8, bytes(8), b"\x7f" * 8))
            case 3:
                changed[place:place] = changed[place : place + draw.randrange(200)]
            case 4:
                changed[place:place] = draw.randbytes(draw.randrange(1, 40))
            case _:
                del changed[place : place + draw.randrange(1, 40)]
    return bytes(changed)


HOSTILE = (
    "null", "true", "-1", "0", "1e999", "-1e999", "NaN", "1e-300", "9" * 5000, "9" * 30, '""',
    '"\\ud800"',
    '"../../etc/passwd"', "[]", "{}", "[" * 100_000, '"' + "a" * 10_000 + '"', '{"a":' * 20_000,
    '"__import__(\'os\').system(\'touch ran\')"', "2.5", '"float32"', "[[[[1]]]]",
)  # fmt: skip


def _mutated_json(content: bytes, draw: random.Random) -> bytes:
    """Return JSON in which some values are others."""
    text = content.decode(errors="replace")
    for _ in range(draw.choice((1, 1, 2, 3))):
        places = [i for i, letter in enumerate(text) if letter in ":[,"] or [0]
        place = draw.choice(places) + 1
        end = place
        while end < len(text) and text[end] not in ",]}":
            end += 1
        text = text[:place] + draw.choice(HOSTILE) + text[end:]
    return text.encode(errors="replace")


def _mutated_zip(content: bytes, draw: random.Random) -> bytes:
    """Return a whole archive with one member damaged, renamed, doubled or left out."""
    result = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as archive, zipfile.ZipFile(result, "w") as new:
        members = archive.infolist()
        chosen = draw.randrange(len(members))
        for number, member in enumerate(members):
            data, name = archive.read(member), member.filename
            if number == chosen:
                match draw.randrange(5):
                    case 0:
                        continue
                    case 1:
                        name = draw.choice(("../out", "/tmp/out", name + "x", "labels.npy"))
                    case 2:
                        new.writestr(name + "2", data)
                    case _:
                        data = mutated(data, draw)
            new.writestr(name, data, draw.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))
    return result.getvalue()


OWN = {"quant", "model_io", "data_io", "analysis", "plain_files"}


def _is_ours(error: ValueError) -> bool:
    """Whether the code that reads machines, which has no error of its own, raised the error."""
    *_, last = traceback.extract_tb(error.__traceback__)
    return Path(last.filename).is_relative_to(Path(accelerator.__file__).parent)


def work(pipe: Connection, folder: Path) -> None:
    """Load inputs until there are no more; answer with what became of each."""
    import torch  # noqa: PLC0415

    torch.set_num_threads(1)
    opened = loaders(folder)
    soft = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (BASE_BYTES + MOST_BYTES, soft))
    pipe.send("ready")
    while (message := pipe.recv()) is not None:
        kind, content = message
        start = time.thread_time()
        try:
            opened[kind](content)
            said = "accepted"
        except ValueError as error:
            own = type(error).__module__.partition(".")[0] in OWN or _is_ours(error)
            said = "refused" if own else f"{type(error).__name__}: {error}"[:300]
        except BaseException as error:  # noqa: BLE001  whatever it is, it is a failure
            said = f"{type(error).__name__}: {error}"[:300]
        seconds = time.thread_time() - start
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        if seconds > MOST_S:
            said = f"took {seconds:.1f} s"
        elif grown > MOST_BYTES:
            said = f"took {grown / 1024**2:.0f} MiB"
        elif any(folder.glob("ran*")):
            said = "ran code"
        pipe.send(said)


class Worker:
    """The bounded process; a new one takes the place of one that died."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._begin()

    def _begin(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=work, args=(other, self.folder), daemon=True)
        self.process.start()
        other.close()
        self.pipe.recv()

    def load(self, kind: str, content: bytes) -> str:
        """Return what became of an input."""
        self.pipe.send((kind, content))
        try:
            if self.pipe.poll(MOST_S + GRACE_S):
                return str(self.pipe.recv())
            said = "hung"
        except EOFError:
            self.process.join()
            said = f"crashed with {self.process.exitcode}"
        self.close()
        self._begin()
        return said

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.join()


def fuzz(seed: int, inputs: int, seconds: float, report: Callable[[Tally], None]) -> Tally:
    """Load `inputs` mutated files, or as many as `seconds` allow."""
    whole, tally = whole_files(), Tally()
    end = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as place:
        worker = Worker(Path(place))
        kinds = sorted(whole)
        while tally.inputs < inputs and time.monotonic() < end:
            draw = random.Random(f"{seed} {tally.inputs}")
            kind = kinds[tally.inputs % len(kinds)]
            said = worker.load(kind, mutated(whole[kind], draw))
            tally.by_loader[kind] += 1
            if said == "accepted":
                tally.accepted += 1
            elif said == "refused":
                tally.refused += 1
            else:
                tally.failures.append(Failure(kind, tally.inputs, said))
            tally.inputs += 1
            if tally.inputs % 500 == 0:
                report(tally)
        worker.close()
    return tally


def main() -> None:
    """Run from the command line and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    def report(tally: Tally) -> None:
        print(
            f"{tally.inputs} inputs: {tally.accepted} accepted, {tally.refused} refused, "
            f"{len(tally.failures)} failures",
            flush=True,
        )

    tally = fuzz(arguments.seed, arguments.inputs, arguments.seconds, report)
    report(tally)
    print(dict(tally.by_loader))
    for failure in tally.failures:
        print(f"{failure.loader} {failure.number}: {failure.what}")


if __name__ == "__main__":
    main()
