"""The only reader of JSON from outside."""

import json
import re
from collections import Counter
from typing import Any

JsonObject = dict[str, Any]
"""A JSON object; who reads a value checks the type of the value."""
MAX_BYTES = 64 * 1024**2
MAX_DIGITS = 40
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class JsonError(ValueError):
    """A text is not JSON, or not readable JSON; the message says why, without the file's name."""


def parse_json(content: str | bytes, most_bytes: int = MAX_BYTES) -> Any:
    """Return the value in a JSON text.

    Raises:
        JsonError: bad JSON or UTF-8, too long, nested too deeply, a whole number of more than
            `MAX_DIGITS` digits, a name twice in an object, or half a character (a lone surrogate).

    >>> parse_json('{"bits": [8, 4]}')
    {'bits': [8, 4]}
    """
    if len(content) > most_bytes:
        raise JsonError(f"it must have at most {most_bytes} bytes, got {len(content)}")
    try:
        text = content.decode("utf-8-sig") if isinstance(content, bytes) else content
        value = json.loads(
            text, parse_int=_checked_whole_number, object_pairs_hook=_object_of_pairs
        )
        if _SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise JsonError("it is nested too deeply") from None
    except UnicodeError:
        raise JsonError("it is not all UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise JsonError(str(error)) from None
    return value


def _object_of_pairs(pairs: list[tuple[str, Any]]) -> JsonObject:
    """Return an object; of a name that stands twice nobody knows which value is meant."""
    found = dict(pairs)
    if len(found) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        twice = next(name for name, count in counts.items() if count > 1)
        raise JsonError(f"the name {twice[:60]!r} stands twice in an object of it")
    return found


def _checked_whole_number(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise JsonError(
            f"a whole number in it has {len(digits)} digits; at most {MAX_DIGITS} are read"
        )
    return int(digits)
