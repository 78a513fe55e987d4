"""The command check and the files that it writes."""
