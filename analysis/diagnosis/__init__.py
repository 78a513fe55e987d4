"""The causes of a layer's loss, and the repairs."""
