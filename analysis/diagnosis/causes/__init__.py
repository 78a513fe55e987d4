"""Root causes of a loss, found in ranges, encodings and configuration."""
