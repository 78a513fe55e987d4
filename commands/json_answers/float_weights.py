"""Float tensors as plain values for JSON."""

from dataclasses import asdict

from analysis.network import Network


def list_float_weights(network: Network) -> list[dict[str, object]]:
    """Return the stored tensors that enter products without an encoding, with the reasons."""
    return [asdict(one) for one in network.float_weights]
