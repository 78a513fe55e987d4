"""The memory of a sweep: a module without torch, for settings that are read before torch."""

# More memory was no faster on any sample model; less memory repeats the layers before a question's
# layer more often.
MEMORY_BYTES = 64 * 2**20
