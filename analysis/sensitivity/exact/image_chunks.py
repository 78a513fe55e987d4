"""Chunks of images that stay unchanged as a sweep grows to more images."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from data_io.dataset import Dataset


@dataclass(frozen=True, slots=True)
class Chunk:
    """Images of a source that run through the network together, by position in the source."""

    key: str
    images: tuple[int, ...]


def divide_into_chunks(
    data: Dataset, size: int, known: Mapping[str, tuple[int, ...]] | None = None
) -> tuple[Chunk, ...]:
    """Return chunks that hold the images of `data` once.

    `known` are computed chunks: a known chunk within `data` is reused, so that only the remaining
    images run, at most `size` in a chunk. Chunks are ordered by their first images.
    """
    places = {image: place for place, image in enumerate(data.indices)}
    remaining = dict(places)
    chunks: list[Chunk] = []
    for key, images in (known or {}).items():
        if all(image in remaining for image in images):
            chunks.append(Chunk(key, images))
            for image in images:
                del remaining[image]
    source = data.source_digest()
    rest = list(remaining)
    for start in range(0, len(rest), size):
        images = tuple(rest[start : start + size])
        chunks.append(Chunk(_chunk_key(source, images), images))
    return tuple(sorted(chunks, key=lambda chunk: places[chunk.images[0]]))


def images_of_chunk(data: Dataset, chunk: Chunk) -> Dataset:
    """Return the images of a chunk."""
    places = {image: place for place, image in enumerate(data.indices)}
    return data.subset([places[image] for image in chunk.images])


def _chunk_key(source: str, images: Sequence[int]) -> str:
    content = source.encode() + np.asarray(images, np.int64).tobytes()
    return hashlib.sha256(content).hexdigest()[:32]
