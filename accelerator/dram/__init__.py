"""Traffic between DRAM and chip, and weights that stay on chip."""
