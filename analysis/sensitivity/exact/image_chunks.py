"""Images in chunks that stay what they are when more images are asked for."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from data_io.dataset import Dataset


@dataclass(frozen=True, slots=True)
class Chunk:
    """Images of a source that run through the network together, by their place in it."""

    key: str
    images: tuple[int, ...]


def divide(
    data: Dataset, size: int, known: Mapping[str, tuple[int, ...]] | None = None
) -> tuple[Chunk, ...]:
    """Return chunks that hold each image of `data` once.

    `known` are chunks that have been computed before: those that lie in `data` are taken as they
    are, so that only the other images, at most `size` in a chunk, have to run. Chunks come in the
    order of their first images, whichever were known.
    """
    places = {image: place for place, image in enumerate(data.indices)}
    left = dict(places)
    taken: list[Chunk] = []
    for key, images in (known or {}).items():
        if all(image in left for image in images):
            taken.append(Chunk(key, images))
            for image in images:
                del left[image]
    source = data.source_digest()
    rest = list(left)
    for start in range(0, len(rest), size):
        images = tuple(rest[start : start + size])
        taken.append(Chunk(_key(source, images), images))
    return tuple(sorted(taken, key=lambda chunk: places[chunk.images[0]]))


def images_of(data: Dataset, chunk: Chunk) -> Dataset:
    """Return the images of a chunk."""
    places = {image: place for place, image in enumerate(data.indices)}
    return data.subset([places[image] for image in chunk.images])


def _key(source: str, images: Sequence[int]) -> str:
    content = source.encode() + np.asarray(images, np.int64).tobytes()
    return hashlib.sha256(content).hexdigest()[:32]
