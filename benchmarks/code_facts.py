"""The facts of the source tree beside their goals: sizes, names, docstrings, types.

Run with: python -m benchmarks.code_facts [FOLDER]

The table has one row for each measure: the goal, today's value, and the folders that are furthest
from the goal. FOLDER is another checkout of this repository, such as an older one; the one that
this file lies in if it is left out. Only the product is measured; tests count in the one ratio.
"""

import argparse
import ast
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from statistics import fmean, median, quantiles

from tests.code_layout import ROOT, class_homes, function_lines, modules_by_folder

NOT_PRODUCT = {"tests", "benchmarks", "docs", "runs"}
EXAMPLE_PACKAGES = ("quant", "accelerator", "analysis")
# Words that stand for another word or point at one: they send the reader back to look it up.
POINTER = re.compile(
    "its?|itself|they|them|their|theirs|themselves|this|that|these|those|such|who|whom|whose"
    "|which|whichever|what|whatever|he|him|his|she|her|we|us|our|you|your|i|me|my|ones?|each|every"
    "|either|neither|both|all|any|some|none|no|others?|another|anything|something|nothing"
    "|everything|anyone|someone|nobody|much|many|more|most|few|several|same"
)
SHAPE = re.compile(
    r"\bshapes?\b|\bscalars?\b"
    r"|[\(\[]\w+, [\w*]+(, [\w*]+)*,?[\)\]]|\(\w+,\)"  # (N, C, H, W) or (N,)
)
EXAMPLE = re.compile(
    r">>>|\bfor example\b|\bexamples?:|\be\.g\."
    r"|`[^`]*`(?: \w+)* (?:is|are|gives?|->) `"  # `half(4)` is `2`
)
WORD = re.compile(r"[A-Za-z][A-Za-z']*")

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class PlacedFunction:
    """A function or method, the path of its source, and whether a user of the module sees it."""

    path: str
    node: Function
    is_public: bool

    @property
    def package(self) -> str:
        """The first folder of the path, or the file at the root."""
        return self.path.partition("/")[0]

    @property
    def docstring(self) -> str:
        """The docstring, or nothing."""
        return ast.get_docstring(self.node) or ""

    @property
    def words_in_name(self) -> int:
        """The words of the name: `zero_point_of` has three."""
        return len([word for word in self.node.name.split("_") if word])

    @cached_property
    def annotations(self) -> list[str]:
        """The annotations of the parameters and of the result, as source text."""
        given = [each.annotation for each in parameters(self.node)]
        return [ast.unparse(one) for one in (*given, self.node.returns) if one is not None]

    @property
    def is_typed(self) -> bool:
        """Whether the result and each parameter but self have a type."""
        needed = [each for each in parameters(self.node) if each.arg not in ("self", "cls")]
        return self.node.returns is not None and all(each.annotation for each in needed)

    @property
    def takes_or_gives_tensor(self) -> bool:
        """Whether a Tensor is among the parameters or the results."""
        return any(re.search(r"\bTensor\b", text) for text in self.annotations)


@dataclass(frozen=True)
class Fact:
    """One row of the table: a measure, its goal, its value, and where it is worst."""

    measure: str
    goal: str
    today: str
    is_met: bool
    where: str = ""


def parameters(node: Function) -> list[ast.arg]:
    """Return all parameters of a function, starred ones too."""
    stars = [one for one in (node.args.vararg, node.args.kwarg) if one is not None]
    return [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, *stars]


def read_python(root: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Return the texts of the product and of its tests, by path relative to `root`."""
    product: dict[str, str] = {}
    tests: dict[str, str] = {}
    for path in sorted(root.rglob("*.py")):
        place = path.relative_to(root)
        first = place.parts[0]
        if first.startswith(".") or first in NOT_PRODUCT - {"tests"}:
            continue
        kind = tests if first == "tests" else product
        kind[str(place)] = path.read_text(encoding="utf-8")
    return product, tests


def functions_of(sources: Mapping[str, str]) -> list[PlacedFunction]:
    """Return each function and method of the sources, nested functions too."""
    return list(chain.from_iterable(_placed(path, text) for path, text in sources.items()))


def _placed(path: str, text: str) -> Iterator[PlacedFunction]:
    def walk(node: ast.AST, *, visible: bool) -> Iterator[PlacedFunction]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, Function):
                public = visible and not child.name.startswith("_")
                yield PlacedFunction(path, child, public)
                yield from walk(child, visible=False)
            else:
                private = isinstance(child, ast.ClassDef) and child.name.startswith("_")
                yield from walk(child, visible=visible and not private)

    return walk(ast.parse(text), visible=True)


def docstrings_of(text: str) -> Iterator[str]:
    """Yield each docstring of a source: of the module, its classes and functions."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | Function):
            docstring = ast.get_docstring(node)
            if docstring:
                yield docstring


def pointer_percent(texts: Iterable[str]) -> float:
    """Return the percentage of words in the texts that are pronouns or determiners."""
    words = [word.lower() for text in texts for word in WORD.findall(text)]
    return 100 * sum(bool(POINTER.fullmatch(word)) for word in words) / max(1, len(words))


def by_package(sources: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Return the sources of each package, files at the root left out."""
    packages: dict[str, dict[str, str]] = {}
    for path, text in sources.items():
        if "/" in path:
            packages.setdefault(path.partition("/")[0], {})[path] = text
    return packages


def worst(values: Mapping[str, float], form: str, *, count: int = 3, least: bool = False) -> str:
    """Return the names of the `count` highest values (lowest if `least`) with these values."""
    order = sorted(values, key=lambda name: values[name], reverse=not least)
    return ", ".join(f"{name} {values[name]:{form}}" for name in order[:count])


def fact_of_folders(product: Mapping[str, str]) -> Fact:
    """Return how many modules a folder holds; `__init__` does not count."""
    folders = modules_by_folder(product)
    middle, most = median(folders.values()), max(folders.values())
    today, met = f"{middle:g} / {most}", middle <= 8 and most <= 17
    return Fact("files in a folder, median / max", "<= 8 / 17", today, met, worst(folders, "d"))


def fact_of_files(product: Mapping[str, str]) -> Fact:
    """Return how many lines a file has."""
    lines = {path: len(text.splitlines()) for path, text in product.items()}
    counts = [count for path, count in lines.items() if not path.endswith("__init__.py")]
    today, met = f"{median(counts):g} / {max(counts)}", median(counts) <= 130 and max(counts) <= 350
    return Fact("file lines, median / max", "<= 130 / 350", today, met, worst(lines, "d"))


def fact_of_functions(product: Mapping[str, str]) -> Fact:
    """Return how many lines a function has, from `def` to its end; a command from its body on."""
    lines = {
        f"{path}:{name}": count
        for path, text in product.items()
        for name, count in function_lines(text)
    }
    counts = list(lines.values())
    ninetieth = quantiles(counts, n=10)[-1]
    today = f"{median(counts):g} / {ninetieth:.0f} / {max(counts)}"
    met = median(counts) <= 10 and ninetieth <= 30 and max(counts) <= 60
    measure = "function lines, median / p90 / max"
    return Fact(measure, "<= 10 / 30 / 60", today, met, worst(lines, "d"))


def fact_of_classes(product: Mapping[str, str]) -> Fact:
    """Return how many class names stand in several modules."""
    homes = class_homes(product)
    several = [name for name, places in homes.items() if len(places) > 1]
    today = f"{len(several)} of {len(homes)}"
    return Fact("class names in several modules", "0", today, not several, ", ".join(several[:5]))


def fact_of_names(functions: list[PlacedFunction]) -> Fact:
    """Return how many words a function's name has; `__init__` and its like are not counted."""
    named = [one for one in functions if not one.node.name.startswith("__")]
    packages: dict[str, list[int]] = {}
    for one in named:
        packages.setdefault(one.package, []).append(one.words_in_name)
    mean = fmean(one.words_in_name for one in named)
    where = worst({name: fmean(each) for name, each in packages.items()}, ".2f", least=True)
    return Fact("words in a function's name, mean", ">= 2.2", f"{mean:.2f}", mean >= 2.2, where)


def fact_of_pointers(product: Mapping[str, str]) -> Fact:
    """Return the share of pronouns and determiners among the words of docstrings."""
    found = {
        name: pointer_percent(chain.from_iterable(map(docstrings_of, sources.values())))
        for name, sources in by_package(product).items()
    }
    whole = pointer_percent(chain.from_iterable(map(docstrings_of, product.values())))
    measure = "pronouns and determiners in docstrings"
    return Fact(measure, "<= 6 %", f"{whole:.1f} %", whole <= 6, worst(found, ".1f", count=4))


def fact_of_shapes(functions: list[PlacedFunction]) -> Fact:
    """Return how many functions of tensors, of those with a docstring, tell a shape in it."""
    tensor = [one for one in functions if one.docstring and one.takes_or_gives_tensor]
    silent = [one for one in tensor if not SHAPE.search(one.docstring)]
    return Fact(
        "tensor functions whose docstring tells a shape",
        "100 %",
        f"{len(tensor) - len(silent)} of {len(tensor)}",
        not silent,
        worst(count_by(silent, lambda one: one.package), "d"),
    )


def fact_of_examples(functions: list[PlacedFunction]) -> Fact:
    """Return the share of public functions whose docstring has an example."""
    public = [one for one in functions if one.is_public and one.package in EXAMPLE_PACKAGES]
    count = sum(bool(EXAMPLE.search(one.docstring)) for one in public)
    percent = 100 * count / len(public)
    measure = f"docstrings with an example ({', '.join(EXAMPLE_PACKAGES)})"
    return Fact(measure, ">= 5 %", f"{percent:.1f} %", percent >= 5, f"{count} of {len(public)}")


def fact_of_skips(product: Mapping[str, str]) -> Fact:
    """Return how often the formatter is told to look away."""
    counts = {path: text.count("# fmt: skip") for path, text in product.items()}
    packages: dict[str, int] = {}
    for path, count in counts.items():
        name = path.partition("/")[0]
        packages[name] = packages.get(name, 0) + count
    whole = sum(counts.values())
    return Fact("`# fmt: skip`", "< 20", str(whole), whole < 20, worst(packages, "d"))


def fact_of_tests(product: Mapping[str, str], tests: Mapping[str, str]) -> Fact:
    """Return the lines of tests for each line of the product."""
    lines = [sum(len(text.splitlines()) for text in each.values()) for each in (tests, product)]
    ratio = lines[0] / lines[1]
    where = f"{lines[0]} : {lines[1]}"
    return Fact("test : source lines", ">= 0.8", f"{ratio:.2f}", ratio >= 0.8, where)


def fact_of_any(functions: list[PlacedFunction]) -> Fact:
    """Return how often a signature says Any."""
    packages: dict[str, int] = {}
    for one in functions:
        count = sum(bool(re.search(r"\bAny\b", text)) for text in one.annotations)
        packages[one.package] = packages.get(one.package, 0) + count
    whole = sum(packages.values())
    return Fact("`Any` in signatures", "< 60", str(whole), whole < 60, worst(packages, "d"))


def fact_of_public(functions: list[PlacedFunction]) -> Fact:
    """Return the share of public functions that have types and a docstring."""
    public = [one for one in functions if one.is_public and not one.node.name.startswith("__")]
    bare = [one for one in public if not (one.is_typed and one.docstring)]
    share = 100 * (1 - len(bare) / len(public))
    where = ", ".join(f"{one.path}:{one.node.name}" for one in bare[:3])
    measure = "typed, documented public functions"
    return Fact(measure, "100 %", f"{share:.1f} %", not bare, where)


def count_by(
    functions: Iterable[PlacedFunction], key: Callable[[PlacedFunction], str]
) -> dict[str, int]:
    """Return how many of the functions have each key."""
    counts: dict[str, int] = {}
    for one in functions:
        counts[key(one)] = counts.get(key(one), 0) + 1
    return counts


def measure_tree(root: Path) -> list[Fact]:
    """Return every fact of the checkout at `root`."""
    product, tests = read_python(root)
    functions = functions_of(product)
    return [
        fact_of_folders(product),
        fact_of_files(product),
        fact_of_functions(product),
        fact_of_classes(product),
        fact_of_names(functions),
        fact_of_pointers(product),
        fact_of_shapes(functions),
        fact_of_examples(functions),
        fact_of_skips(product),
        fact_of_tests(product, tests),
        fact_of_any(functions),
        fact_of_public(functions),
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT)
    root = parser.parse_args().folder
    print("| measure | goal | today | met | worst |")
    print("|---|---|---|---|---|")
    for fact in measure_tree(root):
        cells = (fact.measure, fact.goal, fact.today, "yes" if fact.is_met else "no", fact.where)
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
