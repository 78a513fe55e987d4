"""The user's Python code runs only after the user has agreed, once for a file."""

from pathlib import Path

from analysis.runs.run_store import RunStore


def needs_consent(store: RunStore, code: str) -> bool:
    """Return whether the file of `code`, "path.py:function", exists without a user's consent."""
    return code_file(code).is_file() and store.find_answer(_consent_question(code)) is not True


def allow_code_run(store: RunStore, code: str) -> None:
    """Keep the user's consent to run `code`; the app does not ask again."""
    store.keep_answer(_consent_question(code), answer=True)


def code_file(code: str) -> Path:
    """Return the absolute path of the file in "path.py:function"."""
    return Path(code.rpartition(":")[0]).expanduser().absolute()


def _consent_question(code: str) -> str:
    return f"may run {code_file(code)}"
