"""Drawn faces, used if no face photos are installed: each person has individual features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

PEOPLE, PHOTOS = 16, 10
HEIGHT, WIDTH = 112, 92
# Drawn at 4 times the size and reduced, for anti-aliasing.
DETAIL = 4
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Person:
    """The features that all photos of a person share; lengths in pixels of a 92×112 photo."""

    skin: Colour
    hair: Colour
    shirt: Colour
    wall: Colour
    width: float
    chin: float
    fringe: float
    long_hair: bool
    brow: float
    nose: float
    mouth: float
    beard: bool


def drawn_photos(seed: int) -> NDArray[np.uint8]:
    """(people, photos, 112, 92, 3), uint8. Equal seeds give equal photos."""
    rng = np.random.default_rng(seed)
    return np.stack(
        [
            np.stack([_photo(person, rng) for _ in range(PHOTOS)])
            for person in (_person(rng) for _ in range(PEOPLE))
        ]
    )


def _person(rng: np.random.Generator) -> Person:
    skins = ((250, 214, 186), (232, 184, 146), (198, 142, 102), (150, 100, 68), (104, 68, 46))
    hairs = (
        (30, 24, 22),
        (74, 46, 28),
        (140, 88, 44),
        (214, 178, 98),
        (160, 158, 156),
        (150, 52, 24),
    )

    def colour(low: int, high: int) -> Colour:
        red, green, blue = (int(value) for value in rng.integers(low, high, 3))
        return red, green, blue

    return Person(
        skin=skins[rng.integers(len(skins))],
        hair=hairs[rng.integers(len(hairs))],
        shirt=colour(20, 220),
        wall=colour(90, 230),
        width=rng.uniform(25, 33),
        chin=rng.uniform(92, 104),
        fringe=rng.uniform(22, 38),
        long_hair=bool(rng.random() < 0.4),
        brow=rng.uniform(1, 4),
        nose=rng.uniform(9, 17),
        mouth=rng.uniform(8, 15),
        beard=bool(rng.random() < 0.3),
    )


def _photo(person: Person, rng: np.random.Generator) -> NDArray[np.uint8]:
    size = (WIDTH * DETAIL, HEIGHT * DETAIL)
    image = Image.new("RGB", size, person.wall)
    draw = ImageDraw.Draw(image)
    turn, smile = rng.uniform(-3, 3), rng.uniform(-2, 5)

    def ellipse(x: float, y: float, rx: float, ry: float, fill: Colour) -> None:
        draw.ellipse([v * DETAIL for v in (x - rx, y - ry, x + rx, y + ry)], fill=fill)

    def line(points: list[tuple[float, float]], width: float, fill: Colour) -> None:
        scaled = [(x * DETAIL, y * DETAIL) for x, y in points]
        draw.line(scaled, fill=fill, width=round(width * DETAIL), joint="curve")

    dark = tuple(int(value * 0.78) for value in person.skin)
    shade: Colour = (dark[0], dark[1], dark[2])
    ellipse(46, 122, 44, 22, person.shirt)
    if person.long_hair:
        ellipse(46, 64, person.width + 9, 46, person.hair)
    ellipse(46, 36, person.width + 5, 30, person.hair)
    draw.rectangle([v * DETAIL for v in (38, 90, 54, 108)], fill=shade)
    for side in (-1, 1):
        ellipse(46 + side * (person.width + 1), 56, 4, 8, shade)
    middle = (person.chin + 16) / 2
    ellipse(46, middle, person.width, person.chin - middle, person.skin)
    if person.beard:
        ellipse(46, person.chin - 14, person.width * 0.72, 14, person.hair)
    draw.chord(
        [v * DETAIL for v in (46 - person.width, 12, 46 + person.width, 12 + 2 * person.fringe)],
        180,
        360,
        fill=person.hair,
    )
    for side in (-1, 1):
        eye = 46 + side * 16 + turn
        ellipse(eye, 51, 6, 3.4, (245, 245, 245))
        ellipse(eye + turn / 3, 51, 3, 3, (40, 30, 26))
        line([(eye - 7, 43), (eye, 41.5), (eye + 7, 43)], person.brow, person.hair)
    line(
        [(46 + turn, 54), (44 + turn * 1.5, 54 + person.nose), (49 + turn, 55 + person.nose)],
        1.5,
        shade,
    )
    lips = person.chin - 18
    corners = [(46 + turn - person.mouth, lips - smile), (46 + turn, lips + 2)]
    line([*corners, (46 + turn + person.mouth, lips - smile)], 2.5, (176, 74, 74))
    small = image.resize((WIDTH, HEIGHT), Image.Resampling.BOX)
    light = rng.uniform(0.85, 1.15) + np.linspace(-1, 1, WIDTH)[:, None] * rng.uniform(-0.15, 0.15)
    noisy = np.asarray(small) * light + rng.normal(0, 4, (HEIGHT, WIDTH, 3))
    return noisy.clip(0, 255).astype(np.uint8)
