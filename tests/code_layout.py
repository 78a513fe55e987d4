"""Facts of the source tree that the architecture test bounds: folders, classes, lengths."""

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = (
    "accelerator", "analysis", "commands", "data_io", "figures", "model_io", "pages", "quant",
    "sample_models", "ui",
)  # fmt: skip

Sources = Mapping[str, str]  # path relative to the root -> text


def read_sources() -> dict[str, str]:
    """Return the text of each source of the product, by its path relative to the root."""
    paths = [*ROOT.glob("*.py"), *(p for name in PACKAGES for p in (ROOT / name).rglob("*.py"))]
    return {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in paths}


def modules_by_folder(sources: Sources) -> dict[str, int]:
    """Return the number of modules in each folder; `__init__` is not counted."""
    counts: dict[str, int] = defaultdict(int)
    for path in sources:
        if not path.endswith("__init__.py"):
            counts[folder_of(path)] += 1
    return dict(counts)


def folder_of(path: str) -> str:
    """Return the folder of a path with slashes, or "" at the root."""
    return path.rpartition("/")[0]


def imported_modules(text: str) -> Iterator[str]:
    """Yield the dotted names that a source imports, `package.name` for `from package import`."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def arrows_by_folder(sources: Sources) -> dict[str, dict[str, dict[str, str]]]:
    """Return who imports whom, folder by folder, between what stands side by side in each.

    What stands in a folder are its modules and its subfolders, each a unit. An import between two
    files is an arrow between the two units of the deepest folder that holds both. Each arrow has
    one file that draws it: `arrows["analysis"]["analysis/runs"]["analysis/cost"]`.
    """
    files = {path.removesuffix(".py").replace("/", "."): path for path in sources}
    arrows: dict[str, dict[str, dict[str, str]]] = defaultdict(lambda: defaultdict(dict))
    for path, text in sources.items():
        if path.endswith("__init__.py"):
            continue  # a list of what stands in the folder
        for name in imported_modules(text):
            target = files.get(name) or files.get(name.rpartition(".")[0])
            if target is None or target == path:
                continue
            own, other = path.split("/"), target.split("/")
            depth = next(
                i for i, pair in enumerate(zip(own, other, strict=False)) if len(set(pair)) > 1
            )
            units = ("/".join(own[: depth + 1]), "/".join(other[: depth + 1]))
            arrows["/".join(own[:depth])][units[0]].setdefault(units[1], path)
    return {folder: dict(units) for folder, units in arrows.items()}


def find_circle(arrows: Mapping[str, Iterable[str]]) -> list[str]:
    """Return the units of one import circle in order, or nothing where there is none."""
    done: set[str] = set()

    def visit(folder: str, way: list[str]) -> list[str]:
        if folder in way:
            return way[way.index(folder) :]
        if folder in done:
            return []
        for target in arrows.get(folder, ()):
            if circle := visit(target, [*way, folder]):
                return circle
        done.add(folder)
        return []

    for start in arrows:
        if circle := visit(start, []):
            return circle
    return []


def class_homes(sources: Sources) -> dict[str, list[str]]:
    """Return the paths that define each class at the top level of a module."""
    homes: dict[str, list[str]] = defaultdict(list)
    for path, text in sources.items():
        for node in ast.parse(text).body:
            if isinstance(node, ast.ClassDef):
                homes[node.name].append(path)
    return dict(homes)


def function_lines(text: str) -> Iterator[tuple[str, int]]:
    """Yield the name and the number of lines of each function; a Typer command's options count not.

    A command's signature is the list of its options, so its lines are counted from its body on.
    """
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            is_command = any("command" in ast.unparse(one) for one in node.decorator_list)
            start = node.body[0].lineno if is_command else node.lineno
            yield node.name, (node.end_lineno or start) - start + 1
