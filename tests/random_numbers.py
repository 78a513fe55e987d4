"""Random numbers of numpy that each test gets anew: a test must not depend on the tests before."""

import numpy as np

RANDOM = np.random.default_rng(0)
_START = RANDOM.bit_generator.state


def restart_random_numbers() -> None:
    """Let the generator begin again."""
    RANDOM.bit_generator.state = _START
