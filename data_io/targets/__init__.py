"""Targets of folders of images: boxes and masks."""
