"""What crosses the border between DRAM and chip, and which weights never do."""
