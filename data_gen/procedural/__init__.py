"""A licence-free corpus of objects: parametric families of many classes.

Every family is asymmetric, so that an image tells the rotation: shape, or the colours of parts,
differ between left and right, front and back, up and down, and under any turn. Every instance
differs in proportions, number of parts and style. Objects are z up, their front faces +y, where
the camera of the recipes stands (the families' code is written facing -y, x to the right), their
bounding box is centred and has diagonal 1. The palette is drawn alike for all classes: colour
says nothing about the class. Some classes are look-alikes on purpose: chair, stool and bench;
mug, teacup, teapot, pitcher and watering can; car, van, bus and truck; bicycle, motorcycle and
scooter; lamp and microphone; sailboat and ship. ``LOOK_ALIKES`` are closer
still: each of the demo's classes with something added.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable

from data_gen.mesh import Mesh
from data_gen.procedural import (
    craft,
    devices,
    furniture,
    kitchen,
    look_alikes,
    places,
    road,
    sound,
    wheels,
    worn,
)
from data_gen.procedural.draws import Draws, palette
from data_gen.procedural.model import Model
from ssl_equiv.errors import UserError

__all__ = ["CLASSES", "DEMO_CLASSES", "LOOK_ALIKES", "check_class", "make"]

_FAMILIES: dict[str, Callable[[Model, Draws], None]] = {
    family.__name__: family
    for theme in (furniture, kitchen, devices, sound, road, wheels, craft, places, worn)
    for family in theme.FAMILIES
}

CLASSES: tuple[str, ...] = tuple(_FAMILIES)
"""Names of the classes, in an order that stays: new classes go to the end."""

DEMO_CLASSES: tuple[str, ...] = (
    "bed",
    "camera",
    "car",
    "chair",
    "house",
    "laptop",
    "mailbox",
    "piano",
    "shoe",
    "telephone",
    "train",
    "watering_can",
)
"""Twelve classes that can be told apart, and their rotation seen, in 64-pixel images."""


LOOK_ALIKES: dict[str, str] = {
    family.__name__: original
    for family, original in zip(look_alikes.FAMILIES, look_alikes.ORIGINALS, strict=True)
}
"""Further classes, which are made only where they are named, and what each looks like; with
``class_colors`` it has its original's colours."""

_FAMILIES |= {family.__name__: family for family in look_alikes.FAMILIES}


def make(class_name: str, instance: int, seed: int = 0, class_colors: bool = False) -> Mesh:
    """Make an object.

    Args:
        class_name: One of ``CLASSES`` or ``LOOK_ALIKES``.
        instance: Which object of the class, from 0 without end.
        seed: Another seed makes other objects.
        class_colors: Paint all objects of a class alike: colour then tells the class, and the
            painted parts tell the rotation. For data that is to be learnt in minutes.

    Returns:
        A mesh of about 130 to 2,700 triangles with four materials; the same bytes on
        every machine.

    Raises:
        UserError: There is no such class, or the instance is negative.
    """
    check_class(class_name)
    if instance < 0:
        raise UserError(f"instance {instance} of {class_name}: count from 0")
    draws = Draws(class_name, instance, seed)
    colors = palette(draws)
    if class_colors:
        colors = palette(Draws(LOOK_ALIKES.get(class_name, class_name), "colors", seed))
    model = Model(colors)
    _FAMILIES[class_name](model, draws)
    return model.mesh()


def check_class(class_name: str) -> None:
    """Raise a ``UserError`` unless there is such a class; it names the nearest one."""
    if class_name not in _FAMILIES:
        near = difflib.get_close_matches(class_name, _FAMILIES, 1, 0.0)[0]
        raise UserError(f"no procedural class {class_name!r}: did you mean {near!r}?")
