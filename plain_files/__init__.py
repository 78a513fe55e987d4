"""Files of plain values from strangers: read within bounds, refused in a sentence."""
