"""Two ways from a network to a traced graph: torch.export, and a record of an imported network."""
