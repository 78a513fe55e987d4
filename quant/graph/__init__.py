"""The captured network: nodes, layers and connections."""
