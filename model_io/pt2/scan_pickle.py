"""Scan the sample inputs, the one pickle in a `.pt2`, without running the pickle.

QuantScope needs no sample inputs and never unpickles. The scan finds hidden calls: a file with a
hidden call is hostile, and the user should know.
"""

import pickletools

from model_io.errors import UnsafeFileError
from plain_files.open_zip import BoundedZip

_MAX_PICKLE_BYTES = 4 * 1024**2
# The names in torch.save of a tuple of tensors: functions that rebuild a tensor from a storage.
_ALLOWED = {
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
    "torch.serialization _get_layout",
    "torch Size",
    "collections OrderedDict",
}
_STORAGES = ("Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")
_ALLOWED |= {f"torch {name}Storage" for name in _STORAGES}
# Other opcodes that can name a function; torch.save never writes them.
_REFUSED_OPCODES = {"STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4"}


def check_sample_inputs(data: bytes, shown: str) -> None:
    """Raise UnsafeFileError unless `data` is empty or a torch.save of plain tensors.

    Args:
        data: the member `data/sample_inputs/model.pt`.
        shown: the file's name, for the sentence.
    """
    if not data:
        return
    try:
        with BoundedZip(data) as inner:
            pickles = [i for i in inner.infolist() if i.filename.endswith("/data.pkl")]
            found = {f"{len(pickles)} pickles"}
            if len(pickles) == 1 and pickles[0].file_size <= _MAX_PICKLE_BYTES:
                found = _pickled_names(inner.read(pickles[0]))
    except Exception as error:  # noqa: BLE001 (hostile bytes raise anything)
        raise _unsafe_pickle_error(
            shown, f"what cannot be scanned ({type(error).__name__})"
        ) from None
    if strange := sorted(found - _ALLOWED):
        raise _unsafe_pickle_error(shown, ", ".join(strange[:3])[:120])


def _pickled_names(pickled: bytes) -> set[str]:
    """Return the "module name" pairs in a pickle, and the opcodes that hide names."""
    found: set[str] = set()
    for opcode, argument, _ in pickletools.genops(pickled):
        if opcode.name == "GLOBAL":
            found.add(str(argument))
        elif opcode.name in _REFUSED_OPCODES:
            found.add(f"opcode {opcode.name}")
    return found


def _unsafe_pickle_error(shown: str, got: str) -> UnsafeFileError:
    """Return the error with the finding."""
    return UnsafeFileError(
        f"The sample inputs in {shown} must be plain tensors, got a pickle that names {got}. It "
        "was not run; do not open this file elsewhere if you do not know where it comes from."
    )
