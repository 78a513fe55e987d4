"""Outputs of an unfinished score, so that a stopped score can resume at the next image.

Outputs are stored unchanged: a resumed score equals an uninterrupted score to the last bit. A
finished score deletes the outputs.
"""

import hashlib
import io
import time
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from analysis.network import Network
from analysis.runs.database import Database, StoreError
from quant.encoding import Encoding
from quant.simulation.quant_graph import QuantGraph

FILE = "partial.sqlite"
FLUSH_S = 0.5
MOST_BYTES = 256 * 1024**2
"""Of one score; what comes after is computed anew by a resumed one."""
_TABLE = """CREATE TABLE IF NOT EXISTS outputs (
    question TEXT NOT NULL, place INTEGER NOT NULL, content BLOB NOT NULL,
    PRIMARY KEY (question, place)) WITHOUT ROWID"""
_COLUMNS = {"outputs": ("question", "place", "content")}
Pair = tuple[tuple[Tensor, ...], tuple[Tensor, ...]]


class PartialScores:
    """The outputs (N, ...) of float and quantized network, batch by batch, of one score.

    `question` names every input of the outputs (`score_question_digest`). If the file is unusable,
    no output is stored and the score goes on.
    """

    def __init__(self, folder: Path, question: str) -> None:
        self._question = question
        self._fresh: list[tuple[str, int, bytes]] = []
        self._bytes, self._flushed = 0, time.monotonic()
        try:
            self._database: Database | None = Database(folder / FILE, (_TABLE,), _COLUMNS)
        except StoreError:
            self._database = None

    def find_outputs(self, place: int) -> Pair | None:
        """Return the outputs of the batch at a place, or None."""
        if self._database is None:
            return None
        query = "SELECT content FROM outputs WHERE question = ? AND place = ?"
        try:
            with self._database.open_connection() as database:
                row = database.execute(query, (self._question, place)).fetchone()
            return None if row is None else _read_output_pair(row[0])
        except (StoreError, ValueError, EOFError, OSError, TypeError):
            return None  # damaged: it is computed anew

    def keep_outputs(
        self, place: int, references: tuple[Tensor, ...], outputs: tuple[Tensor, ...]
    ) -> None:
        """Store the outputs of a batch, of shape (N, ...); writing waits at most half a second."""
        if self._database is None or self._bytes > MOST_BYTES:
            return
        content = _write_output_pair((references, outputs))
        self._bytes += len(content)
        self._fresh.append((self._question, place, content))
        if time.monotonic() - self._flushed >= FLUSH_S:
            self.flush_outputs()

    def flush_outputs(self) -> None:
        """Write the unwritten outputs."""
        fresh, self._fresh, self._flushed = self._fresh, [], time.monotonic()
        self._execute_query("INSERT OR REPLACE INTO outputs VALUES (?, ?, ?)", fresh)

    def forget_outputs(self) -> None:
        """Delete the outputs of the finished score."""
        self._fresh = []
        self._execute_query("DELETE FROM outputs WHERE question = ?", [(self._question,)])

    def _execute_query(
        self, query: str, rows: list[tuple[str, int, bytes]] | list[tuple[str]]
    ) -> None:
        if self._database is None or not rows:
            return
        try:
            with self._database.open_connection() as database:
                database.executemany(query, rows)
        except StoreError:
            self._database = None


def score_question_digest(network: Network, quantized: QuantGraph, data_digest: str) -> str:
    """Return a digest of every input of the outputs: networks, encodings, images, torch."""
    total = hashlib.sha256(
        f"compiled {network.digest} {data_digest} {network.forward_batch_size} {torch.__version__} "
        f"{torch.get_num_threads()}".encode()
    )
    for name, tensor in quantized.module.state_dict().items():
        total.update(name.encode())
        total.update(
            tensor.detach().contiguous().view(torch.uint8).numpy().tobytes()
            if tensor.dim()
            else repr(tensor.item()).encode()
        )
    for name, quantizer in quantized.quantizers.items():
        total.update(f"{name} {quantizer.state} {quantizer.clip}".encode())
        if quantizer.encoding is not None:
            total.update(_encoding_text(quantizer.encoding).encode())
    return total.hexdigest()


def _encoding_text(encoding: Encoding) -> str:
    values = (getattr(encoding, field.name) for field in fields(encoding))
    return repr([v.tolist() if isinstance(v, Tensor) else v for v in values])


def _write_output_pair(pair: Pair) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([len(part) for part in pair]))
    for tensor in (*pair[0], *pair[1]):
        np.save(buffer, tensor.detach().numpy(), allow_pickle=False)
    return buffer.getvalue()


def _read_output_pair(content: bytes) -> Pair:
    buffer = io.BytesIO(content)
    first, second = np.load(buffer, allow_pickle=False).tolist()
    found = [torch.from_numpy(np.load(buffer, allow_pickle=False)) for _ in range(first + second)]
    return tuple(found[:first]), tuple(found[first:])
