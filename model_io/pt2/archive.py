"""The outer layer of a `.pt2` file: a zip archive with known members of bounded size.

`torch.export.load` unpickles the members that a `.pt2` declares pickled (weights, constants, sample
inputs, custom objects), loads compiled libraries from `data/aotinductor`, and evaluates strings of
the graph's JSON as Python. Therefore torch never reads the user's file. `archive` opens the file
with `zipfile` alone; `check_program` checks the JSON; `load_pt2` writes a new archive from the
checked parts, and torch loads the new archive.
"""

import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

from model_io.errors import ModelError, UnsafeFileError
from model_io.pt2.scan_pickle import check_sample_inputs
from plain_files.open_zip import BoundedZip

MAX_BYTES = 2 * 1024**3
"""The most that all members may hold together when unpacked."""
MAX_JSON_BYTES = 64 * 1024**2
MAX_SAMPLE_BYTES = 512 * 1024**2
MAX_MEMBERS = 50_000
_MAX_RATIO = 100
_ENCRYPTED = 0x1

PROGRAM = "models/model.json"
WEIGHTS_CONFIG = "data/weights/model_weights_config.json"
CONSTANTS_CONFIG = "data/constants/model_constants_config.json"
SAMPLE_INPUTS = "data/sample_inputs/model.pt"
_NEEDED = ("archive_format", PROGRAM, WEIGHTS_CONFIG, CONSTANTS_CONFIG)
_KNOWN = re.compile(
    r"archive_format|archive_version|byteorder|\.data/(version|serialization_id)|"
    r"models/model\.json|data/sample_inputs/model\.pt|"
    r"data/weights/(weight_\d+|model_weights_config\.json)|"
    r"data/constants/(tensor_\d+|model_constants_config\.json)"
)
_REFUSED_BY_NAME = {
    "data/aotinductor/": "a compiled library",
    "data/executorch/": "a compiled program",
    "data/constants/custom_obj_": "a pickled object",
    "data/constants/opaque_obj_": "a pickled object",
}
REMEDY = "Export the network again with torch.export.export and torch.export.save of torch 2.13."


@dataclass(frozen=True)
class Archive:
    """An open `.pt2` with checked members; names are relative to the root folder."""

    file: zipfile.ZipFile
    members: dict[str, zipfile.ZipInfo]

    def read_member(self, name: str, limit: int = MAX_BYTES) -> bytes:
        """Return a member's bytes after a check of the checksum.

        Raises:
            ModelError: the member is missing, longer than `limit`, or damaged.
        """
        info = self.members.get(name)
        if info is None:
            raise ModelError(f"A .pt2 file must hold {name}, got none. {REMEDY}")
        if info.file_size > limit:
            raise UnsafeFileError(
                f"{name} must hold at most {limit} bytes, got {info.file_size}. {REMEDY}"
            )
        try:
            return self.file.read(info)
        except Exception as error:  # noqa: BLE001 (zipfile raises anything on damaged data)
            raise ModelError(
                f"{name} must be readable, got damaged data ({type(error).__name__}). {REMEDY}"
            ) from None


def open_pt2_archive(path: Path, shown: str) -> Archive:
    """Open a `.pt2` and check name, size and kind of the members; close `.file` after use.

    Raises:
        ModelError: no zip archive from torch.export.save of torch 2.8 or later.
        UnsafeFileError: encrypted, names outside the folder, doubled names, too large, or compiled
            or pickled content.
    """
    try:
        file = BoundedZip(path)
    except Exception:  # noqa: BLE001 (as above)
        raise ModelError(
            f"{shown} must be a zip archive written by torch.export.save, got something "
            f"else or a damaged file. {REMEDY}"
        ) from None
    try:
        archive = Archive(file, _checked_members(file, shown))
        _check_archive_head(archive, shown)
    except BaseException:
        file.close()
        raise
    return archive


def _check_archive_head(archive: Archive, shown: str) -> None:
    """Check the format's name and the sample inputs."""
    if archive.read_member("archive_format", 16) != b"pt2":
        raise ModelError(f"{shown} must be of the format pt2, got another. {REMEDY}")
    if SAMPLE_INPUTS in archive.members:
        check_sample_inputs(archive.read_member(SAMPLE_INPUTS, MAX_SAMPLE_BYTES), shown)


def _checked_members(file: zipfile.ZipFile, shown: str) -> dict[str, zipfile.ZipInfo]:
    """Return the members without the common root folder; unknown names raise an error."""
    infos = [info for info in file.infolist() if not info.is_dir()]
    _check_unpacked_size(infos, shown)
    members: dict[str, zipfile.ZipInfo] = {}
    roots = set()
    for info in infos:
        root, _, name = info.filename.partition("/")
        roots.add(root)
        _check_member_name(info, name, shown)
        if name in members:
            raise UnsafeFileError(f"{shown} must hold each member once, got {name} twice. {REMEDY}")
        members[name] = info
    if len(roots) > 1:
        raise UnsafeFileError(f"{shown} must have one root folder, got {len(roots)}. {REMEDY}")
    if missing := [name for name in _NEEDED if name not in members]:
        raise ModelError(
            f"{shown} must hold {', '.join(_NEEDED)} (torch.export.save of torch 2.8 or later), "
            f"got none named {', '.join(missing)}. {REMEDY}"
        )
    return members


def _check_unpacked_size(infos: list[zipfile.ZipInfo], shown: str) -> None:
    """Raise an error if the unpacked archive is larger than a model."""
    total = sum(info.file_size for info in infos)
    packed = sum(info.compress_size for info in infos)
    if len(infos) > MAX_MEMBERS or total > MAX_BYTES or total > _MAX_RATIO * packed + 2**20:
        raise UnsafeFileError(
            f"{shown} must unpack to at most {MAX_BYTES} bytes, at most {_MAX_RATIO} times its own "
            f"size, in at most {MAX_MEMBERS} members; got {total} bytes from {packed} in "
            f"{len(infos)}. {REMEDY}"
        )


def _check_member_name(info: zipfile.ZipInfo, name: str, shown: str) -> None:
    """Raise an error for an encrypted member, or a member that torch.export.save never writes."""
    if info.flag_bits & _ENCRYPTED:
        raise UnsafeFileError(
            f"{shown} must not be encrypted, got an encrypted member {name}. Unpack it first."
        )
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise UnsafeFileError(f"{shown} must be stored or deflated, got another. {REMEDY}")
    path = info.filename
    if path.startswith("/") or "\\" in path or ":" in path or ".." in path.split("/"):
        raise UnsafeFileError(
            f"Names inside {shown} must stay inside it, got {path[:80]!r}. {REMEDY}"
        )
    for prefix, kind in _REFUSED_BY_NAME.items():
        if name.startswith(prefix):
            raise UnsafeFileError(
                f"{shown} must hold a graph and tensors only, got {kind} ({name[:60]}): it would "
                "run code on this machine. Export the float network without it."
            )
    if not _KNOWN.fullmatch(name) and not name.startswith("extra/"):
        raise UnsafeFileError(
            f"{shown} must hold only what torch.export.save writes, got {name[:80]!r}. {REMEDY}"
        )
