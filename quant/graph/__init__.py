"""The captured network: nodes, layers, and who follows whom."""
