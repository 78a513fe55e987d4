"""Planted faults in the source: how many of them the tests catch.

Run with: python -m benchmarks.mutation_check [--count 20] [--seed 0] [--workers 2] [--json OUT]

Each fault changes one operator, number or condition of one function: a comparison is turned, a
sum becomes a difference, a number grows by one, the cases of a choice are exchanged, the last
keyword of a call is left out. The faults are drawn at random, packages in turn. They are planted
in a copy of the checkout, one at a time. The tests of the changed module run first, then those of
its folder, then those of its package: a fault is caught if a test fails. A fault that survives is
printed with its place; a person reads it and decides whether a test is missing, or whether the
fault changes nothing that a user sees.
"""

import argparse
import ast
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import Queue

from tests.code_layout import ROOT

PACKAGES = (
    "accelerator",
    "analysis",
    "commands",
    "data_io",
    "figures",
    "model_io",
    "quant",
    "sample_models",
    "ui",
)
TURNED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
EXCHANGED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
SECONDS_A_RUN = 1800


@dataclass(frozen=True)
class Mutation:
    """One planted fault: the module's path, the line, the source text before and after."""

    path: str
    line: int
    start: int
    end: int
    before: str
    after: str

    def apply_to_source(self, source: str) -> str:
        """Return the module's text with the fault; `start` and `end` are offsets of characters."""
        return source[: self.start] + self.after + source[self.end :]


@dataclass(frozen=True)
class Verdict:
    """What the tests said of a fault: the first test that failed, or nothing for a survivor."""

    mutation: Mutation
    caught_by: str
    tests_run: str


def mutations_of_module(path: str, source: str) -> list[Mutation]:
    """Return every fault that can be planted in the functions of a module.

    A fault stands in code that runs when the function is called: not in docstrings, annotations,
    default values, decorators or the text of an error.
    """
    starts = [0]
    for text in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(text.encode()))
    raw = source.encode()

    def offset(line: int, column: int) -> int:
        return len(raw[: starts[line - 1] + column].decode())

    found = []
    for function in ast.walk(ast.parse(source)):
        if not isinstance(function, ast.FunctionDef):
            continue
        for node in _executed_nodes(function):
            after = _faulty_text(node)
            if after is None or node.end_lineno is None or node.end_col_offset is None:
                continue
            start = offset(node.lineno, node.col_offset)
            end = offset(node.end_lineno, node.end_col_offset)
            found.append(Mutation(path, node.lineno, start, end, source[start:end], after))
    return list(dict.fromkeys(found))


def _executed_nodes(function: ast.FunctionDef) -> Iterator[ast.expr]:
    """Yield the expressions of a function's body, those of nested functions left out."""
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Raise | ast.FunctionDef | ast.ClassDef | ast.JoinedStr):
            continue
        if isinstance(node, ast.AnnAssign):
            waiting.extend([node.value] if node.value is not None else [])
            continue
        if isinstance(node, ast.expr):
            yield node
        waiting.extend(ast.iter_child_nodes(node))


def _faulty_text(node: ast.expr) -> str | None:
    """Return the text of a wrong expression in the place of `node`, None where no fault fits."""
    fault = _faulty_operator(node) or _faulty_value(node)
    if fault is None:
        return None
    return f"({ast.unparse(ast.fix_missing_locations(fault))})"


def _faulty_operator(node: ast.expr) -> ast.expr | None:
    """Return a comparison, sum, product or condition with another operator, or None."""
    match node:
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in TURNED:
            return ast.Compare(left, [TURNED[type(op)]()], [right])
        case ast.BinOp(left=ast.Constant(value=str())):
            return None
        case ast.BinOp(left=left, op=op, right=right) if type(op) in EXCHANGED:
            return ast.BinOp(left, EXCHANGED[type(op)](), right)
        case ast.BoolOp(op=op, values=values):
            return ast.BoolOp(ast.Or() if isinstance(op, ast.And) else ast.And(), values)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return operand
    return None


def _faulty_value(node: ast.expr) -> ast.expr | None:
    """Return another number, a choice with exchanged cases, a call without a keyword, or None."""
    match node:
        case ast.Constant(value=bool() as value):
            return ast.Constant(not value)
        case ast.Constant(value=int() | float() as value):
            return ast.Constant(value + 1)
        case ast.Call(func=function, args=args, keywords=[*first, last]) if last.arg is not None:
            return ast.Call(function, args, first)
        case ast.IfExp(test=test, body=body, orelse=orelse):
            return ast.IfExp(test, orelse, body)
    return None


def draw_mutations(root: Path, count: int, seed: int) -> list[Mutation]:
    """Return `count` faults, packages in turn, modules by their number of possible faults."""
    chosen: list[Mutation] = []
    generator = random.Random(seed)
    pools = {package: _mutations_of_package(root, package) for package in PACKAGES}
    order = generator.sample(PACKAGES, len(PACKAGES))
    while len(chosen) < count:
        package = order[len(chosen) % len(order)]
        chosen.append(generator.choice(pools[package]))
    return chosen


def _mutations_of_package(root: Path, package: str) -> list[Mutation]:
    return [
        mutation
        for file in sorted((root / package).rglob("*.py"))
        for mutation in mutations_of_module(
            file.relative_to(root).as_posix(), file.read_text(encoding="utf-8")
        )
    ]


def test_places(root: Path, path: str) -> list[str]:
    """Return the tests of a module, from the nearest to the farthest, as paths for pytest.

    A part of the app is tested by the pages, too; a command by `tests/commands`.
    """
    module = Path(path)
    folder = Path("tests") / module.parent
    places = [
        folder / f"test_{module.stem}.py",
        *(p for p in (folder, *folder.parents) if p.parts[1:]),
    ]
    if path.startswith(("ui/", "figures/")):
        page = module.parts[1]
        places += [Path(f"tests/pages/test_{page}.py"), Path("tests/pages")]
    return list(dict.fromkeys(place.as_posix() for place in places if (root / place).exists()))


def judge_mutation(copy: Path, mutation: Mutation, say: Callable[[str], None]) -> Verdict:
    """Plant a fault in the copy, run its tests until one fails, and take the fault out again."""
    file = copy / mutation.path
    whole = file.read_text(encoding="utf-8")
    file.write_text(mutation.apply_to_source(whole), encoding="utf-8")
    ran: list[str] = []
    try:
        for place in test_places(copy, mutation.path):
            caught = _first_failure(copy, place, ran)
            ran.append(place)
            if caught:
                say(f"caught    {mutation.path}:{mutation.line}  {caught}")
                return Verdict(mutation, caught, place)
        say(f"survived  {mutation.path}:{mutation.line}  {mutation.before} -> {mutation.after}")
        return Verdict(mutation, "", " ".join(ran))
    finally:
        file.write_text(whole, encoding="utf-8")


def _first_failure(copy: Path, place: str, before: list[str]) -> str:
    """Return the first test that fails in a place, or nothing; tests of `before` are left out."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider"]
    command += [place, *(f"--ignore={done}" for done in before), "-p", "no:randomly"]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        run = subprocess.run(
            command,
            cwd=copy,
            env=environment,
            capture_output=True,
            text=True,
            timeout=SECONDS_A_RUN,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "a time limit"
    if run.returncode in {0, 5}:
        return ""
    if run.returncode not in {1, 2}:  # a failed test, a module that cannot be imported
        raise RuntimeError(
            f"pytest must run in {place}, got exit code {run.returncode}: {run.stderr}"
        )
    failed = [line for line in run.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return failed[0].split(" - ")[0] if failed else f"exit code {run.returncode}"


def judge_mutations(mutations: list[Mutation], workers: int) -> list[Verdict]:
    """Judge every fault; each worker has a copy of the checkout of its own."""
    with tempfile.TemporaryDirectory() as folder:
        copies: Queue[Path] = Queue()
        for number in range(workers):
            copies.put(_copy_checkout(Path(folder) / str(number)))

        def judge(mutation: Mutation) -> Verdict:
            copy = copies.get()
            try:
                return judge_mutation(copy, mutation, lambda text: print(text, flush=True))
            finally:
                copies.put(copy)

        with ThreadPoolExecutor(workers) as pool:
            return list(pool.map(judge, mutations))


def _copy_checkout(target: Path) -> Path:
    """Copy the files that git knows; return the copy."""
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    for name in tracked.stdout.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)
    return target


def main() -> None:
    """Draw the faults, judge them, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    verdicts = judge_mutations(draw_mutations(ROOT, asked.count, asked.seed), asked.workers)
    caught = sum(bool(verdict.caught_by) for verdict in verdicts)
    print(f"{caught} of {len(verdicts)} planted faults were caught.")
    if asked.json is not None:
        answers = [asdict(verdict) for verdict in verdicts]
        asked.json.write_text(json.dumps(answers, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
