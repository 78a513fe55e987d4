"""Scenes: garments of Fashion-MNIST pasted on a canvas, with boxes and masks."""
