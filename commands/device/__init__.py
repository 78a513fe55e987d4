"""The command compare-device and the work behind it."""
