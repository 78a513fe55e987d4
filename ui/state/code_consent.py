"""Python of the user's own runs only after a person has agreed to it, once for each file."""

from pathlib import Path

from analysis.runs.run_store import RunStore


def needs_consent(store: RunStore, code: str) -> bool:
    """Return whether `code`, "path.py:function", is there and nobody has agreed that it runs."""
    return code_file(code).is_file() and store.answer(_consent_question(code)) is not True


def allow_code_run(store: RunStore, code: str) -> None:
    """Keep that a person has agreed that `code` runs; it is not asked for again."""
    store.keep_answer(_consent_question(code), answer=True)


def code_file(code: str) -> Path:
    """Return the whole path of the file that "path.py:function" names."""
    return Path(code.rpartition(":")[0]).expanduser().absolute()


def _consent_question(code: str) -> str:
    return f"may run {code_file(code)}"
