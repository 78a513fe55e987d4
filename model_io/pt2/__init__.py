"""Networks that torch exported: checked, then loaded."""
