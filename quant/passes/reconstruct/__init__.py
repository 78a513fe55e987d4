"""Block-wise reconstruction: weights of a block learn together for the output of the block."""
