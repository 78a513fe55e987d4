"""Networks for scenes of garments: a detector and a segmenter."""
