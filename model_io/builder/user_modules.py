"""Import of a user's own file, apart from the modules of QuantScope.

A file with `import datasets` means a neighbour or an installed package. The folders of QuantScope
(`analysis`, `commands`, `ui`) have common names too, so a plain import would give the file a
folder of QuantScope. Therefore the file and the neighbours are loaded under a private package
with a private `__import__`. The private `__import__` looks for a module

1. beside the file, like Python for a script;
2. among installed packages only, for the name of a QuantScope folder;
3. like Python, for other names.
"""

import builtins
import hashlib
import importlib
import sys
import threading
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType

OWN_ROOT = Path(__file__).resolve().parents[2]
OWN_NAMES = frozenset(
    path.stem
    for path in OWN_ROOT.iterdir()
    if path.suffix == ".py" or (path.is_dir() and path.name.isidentifier())
) - {"__pycache__"}
_PREFIX = "_quantscope_user_"
_LOCK = threading.RLock()  # a package is forgotten and loaded by one thread at a time


def load_file(path: Path) -> ModuleType:
    """Run a user's Python file and return the module; neighbours are read afresh.

    Raises:
        ImportError: the file imports a module that exists neither beside the file nor among the
            installed packages.
        Exception: an error of the file itself.
    """
    folder = path.resolve().parent
    package = _PREFIX + hashlib.sha256(str(folder).encode()).hexdigest()[:12]
    name = f"{package}.{path.stem.replace('.', '_')}"
    with _LOCK:
        _forget_package(package)
        _register_package(package, folder)
        loader = _UserLoader(name, str(path), package)
        spec = spec_from_file_location(name, path, loader=loader)
        if spec is None:
            raise ImportError(f"{path.name} cannot be imported")
        module = module_from_spec(spec)
        # dataclasses look their module up by name while the file runs
        sys.modules[name] = module
        loader.exec_module(module)
    return module


def _forget_package(package: str) -> None:
    for name in [key for key in sys.modules if key == package or key.startswith(f"{package}.")]:
        del sys.modules[name]


def _register_package(package: str, folder: Path) -> None:
    if not any(isinstance(finder, _UserFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _UserFinder())
    module = ModuleType(package)
    module.__path__ = [str(folder)]
    sys.modules[package] = module


class _UserLoader(SourceFileLoader):
    """Runs a user's module with the private `__import__`, always from source."""

    def __init__(self, name: str, path: str, package: str) -> None:
        super().__init__(name, path)
        self.package = package

    def get_code(self, fullname: str) -> CodeType:  # noqa: ARG002  the protocol has it
        """Compile the source: cached bytecode can be older than an edit in the current second."""
        code: CodeType = self.source_to_code(self.get_data(self.path), self.path)
        return code

    def exec_module(self, module: ModuleType) -> None:
        """Run the module."""
        own = _user_builtins(self.package)
        module.__dict__["__builtins__"] = own
        super().exec_module(module)


class _UserFinder(MetaPathFinder):
    """Finds modules below a private package: neighbours, then installed packages."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,  # noqa: ARG002  the protocol has it
    ) -> ModuleSpec | None:
        """Return the place of a user's module, or None for a foreign or missing module."""
        if not fullname.startswith(_PREFIX) or path is None:
            return None
        package, _, rest = fullname.partition(".")
        spec = PathFinder.find_spec(fullname, path)
        if spec is None and rest in OWN_NAMES:
            spec = PathFinder.find_spec(fullname, _installed_places())
        if spec is not None and type(spec.loader) is SourceFileLoader:
            spec.loader = _UserLoader(fullname, spec.loader.path, package)
        return spec


def _installed_places() -> list[str]:
    """Return where packages are installed: the search path of Python without QuantScope."""
    return [place for place in sys.path if Path(place or ".").resolve() != OWN_ROOT]


def _user_builtins(package: str) -> dict[str, object]:
    """Return Python's built-in names with an `__import__` for modules of a private package."""

    def import_for_user(
        name: str,
        globals: Mapping[str, object] | None = None,  # noqa: A002  Python's own names
        locals: Mapping[str, object] | None = None,  # noqa: A002
        fromlist: Sequence[str] = (),
        level: int = 0,
    ) -> ModuleType:
        top = name.partition(".")[0]
        if level or not _is_of_user(package, top):
            return builtins.__import__(name, globals, locals, fromlist, level)
        try:
            with _LOCK:
                if fromlist:
                    return builtins.__import__(f"{package}.{name}", None, None, fromlist, 0)
                importlib.import_module(f"{package}.{name}")
                return sys.modules[f"{package}.{top}"]
        except ModuleNotFoundError as error:
            if error.name and error.name.startswith(f"{package}."):
                name = error.name.removeprefix(f"{package}.")
                raise ModuleNotFoundError(f"No module named {name!r}", name=name) from None
            raise

    return {**vars(builtins), "__import__": import_for_user}


def _is_of_user(package: str, top: str) -> bool:
    """Whether a top-level name lies beside the user's file, or equals a name of QuantScope."""
    if top in OWN_NAMES:
        return True
    spec = PathFinder.find_spec(top, sys.modules[package].__path__)
    # a folder without Python files is no module: `data/` must not hide a package
    return spec is not None and spec.loader is not None
