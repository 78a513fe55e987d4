"""Energy, latency and memory of a configuration on a machine."""
