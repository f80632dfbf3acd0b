"""Nouns for reports and messages: DeepID recognises people on faces, any other network classifies
images."""

from __future__ import annotations

from dataclasses import dataclass

from ytf_torch.network.deepid import WEIGHTED
from ytf_torch.network.graph import Graph


@dataclass(frozen=True)
class Subject:
    """Nouns for a network's inputs and classes, singular and plural.

    others: images of no class that the network was trained for.
    """

    image: str
    images: str
    class_: str
    classes: str
    others: str


FACES = Subject("face", "faces", "person", "people", "a stranger, or what is no face,")
IMAGES = Subject("image", "images", "class", "classes", "anything else")


def subject_of(graph: Graph) -> Subject:
    """FACES for DeepID under the lab's layer names, else IMAGES.

    >>> subject_of(network.graph).images
    'faces'
    """
    return FACES if set(graph.weighted) == set(WEIGHTED) else IMAGES
