"""Networks exported by torch: checked, then loaded."""
