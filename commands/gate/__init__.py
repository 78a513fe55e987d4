"""The command check and the files of its outcome."""
