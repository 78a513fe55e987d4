"""Energy of a circuit in another process (Stillmaker and Baas, Integration 58, 2017)."""

# Coefficients a, b, c of a V^2 + b V + c by node in nm, as listed in accelergy-library-plug-in
# scaling.py (they are the paper's fits of switching energy over supply voltage).
_FIT: dict[int, tuple[float, float, float]] = {
    65: (3.755, -4.398, 1.975),
    45: (1.103, -0.362, 0.2767),
    32: (0.9559, -0.7823, 0.471),
    20: (0.373, -0.1582, 0.04104),
    16: (0.2958, -0.1241, 0.03024),
    14: (0.2363, -0.09675, 0.02239),
    10: (0.2068, -0.09311, 0.02375),
    7: (0.1776, -0.09097, 0.02447),
}
NODES_NM = frozenset(_FIT)
REFERENCE_NM = 45
SUPPLY_V = 0.9


def scale_between_nodes(from_nm: int, to_nm: int, supply_v: float = SUPPLY_V) -> float:
    """Return the factor on on-chip energy between two nodes at one supply in V.

    Raises ValueError for a node without a fit. Never apply the factor to DRAM.

    >>> scale_between_nodes(45, 45)
    1.0
    """
    for node in (from_nm, to_nm):
        if node not in _FIT:
            raise ValueError(
                f"a technology must be one of {sorted(_FIT)} nm, got {node}; choose one"
            )
    return _switching_energy(to_nm, supply_v) / _switching_energy(from_nm, supply_v)


def _switching_energy(node: int, supply_v: float) -> float:
    a, b, c = _FIT[node]
    return a * supply_v**2 + b * supply_v + c
