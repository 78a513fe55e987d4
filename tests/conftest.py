"""What every test gets: one thread, and the same random numbers whichever tests run."""

import pytest
import torch

from analysis.process_settings import keep_freed_memory

keep_freed_memory()
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)
