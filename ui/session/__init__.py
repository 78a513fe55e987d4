"""Sessions saved to a file and opened again."""
