"""What the elements are: groups that act exactly, semigroups that say that they are none."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from ssl_equiv.errors import UserError
from ssl_equiv.groups import SO2, Flip, Group, Translation
from ssl_equiv.transforms import (
    Augmentation,
    Blur,
    ColorJitter,
    Compose,
    Crop,
    GaussianBlur,
    Grayscale,
    Jitter,
    QuarterTurn,
    RandomFlip,
    RandomResizedCrop,
    Rotation,
    Shift,
    Solarize,
    Switch,
    Transform,
    presets,
)


def noise(batch: int, size: int = 12) -> Tensor:
    return torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(0))


EXACT: list[tuple[Transform, Tensor]] = [
    (QuarterTurn(), SO2().exp(torch.arange(4.0).unsqueeze(1) * math.pi / 2)),
    (RandomFlip(0.5, 0.5), torch.tensor([[x, y] for x in (1.0, -1.0) for y in (1.0, -1.0)])),
    (
        Shift(wrap=True),
        torch.tensor([[x, y] for x in (-3, 0, 5) for y in (-4, 0, 2)]) / 6,
    ),
]


@pytest.mark.parametrize(("transform", "elements"), EXACT, ids=["turns", "flips", "shifts"])
def test_the_action_is_exact(transform: Transform, elements: Tensor) -> None:
    images = noise(len(elements) ** 2)
    pairs = list(itertools.product(elements, elements))
    g, h = (torch.stack(side) for side in zip(*pairs, strict=True))
    twice = transform(transform(images, h), g)
    assert torch.equal(twice, transform(images, transform.group.compose(g, h)))
    assert torch.equal(transform(transform(images, g), transform.group.inverse(g)), images)
    unit = transform.group.identity((len(images),))
    assert torch.equal(transform(images, unit), images)
    # from the view of g, the relative action in the frame of g leads to the view of h
    relative = transform.relative(g, h)
    assert torch.equal(
        transform(images, h), transform(images, transform.group.compose(g, relative))
    )


def test_quarter_turns_and_flips_make_the_square_group() -> None:
    images = noise(1)
    turn = torch.tensor([[math.pi / 2]])
    flip = torch.tensor([[-1.0, 1.0]])
    there = RandomFlip()(QuarterTurn()(RandomFlip()(images, flip), turn), flip)
    assert torch.equal(there, QuarterTurn()(images, SO2().inverse(turn)))


def test_shifts_are_exact_where_nothing_has_left() -> None:
    images = noise(1)
    g, h = torch.tensor([[2 / 6, 1 / 6]]), torch.tensor([[-1 / 6, 3 / 6]])
    transform = Shift()
    both = transform(images, transform.group.compose(g, h))
    twice = transform(transform(images, h), g)
    assert torch.equal(twice[..., 3:, 2:], both[..., 3:, 2:]) or torch.equal(
        twice[..., :-4, 2:], both[..., :-4, 2:]
    )
    back = transform(transform(images, g), transform.group.inverse(g))
    assert torch.equal(back[..., 1:, :-2], images[..., 1:, :-2])
    assert back[..., 0, :].abs().max() == 0


GEOMETRY: list[tuple[Transform, list[float]]] = [
    (RandomFlip(), [-1.0, 1.0]),
    (RandomFlip(), [1.0, -1.0]),
    (QuarterTurn(), [math.pi / 2]),
    (Rotation(), [0.7]),
    (Rotation(), [-2.4]),
    (Shift(), [0.25, 0.125]),
    (RandomResizedCrop(65), [-14 / 65, 14 / 65, math.log(39 / 65), math.log(39 / 65)]),
]


@pytest.mark.parametrize(("transform", "element"), GEOMETRY)
def test_a_point_goes_where_the_group_sends_it(
    transform: Transform, element: Sequence[float]
) -> None:
    size = 64 if isinstance(transform, Shift) else 65
    axis = (2 * torch.arange(size) + 1) / size - 1
    point = torch.tensor([-0.31, 0.43])  # x to the right, y up
    spot = torch.exp(-((axis - point[0]) ** 2 + (-axis.unsqueeze(1) - point[1]) ** 2) / 0.01)
    g = torch.tensor([list(element)])
    image = transform(spot.expand(1, 3, size, size), g)[0, 0]
    x = (image * axis).sum() / image.sum()
    y = (image * -axis.unsqueeze(1)).sum() / image.sum()
    want = transform.group.act(g, point.view(1, 1, 2))[0, 0]
    assert (torch.stack((x, y)) - want).abs().max() < 0.01


def test_a_crop_of_a_crop_is_a_crop() -> None:
    group = Crop()
    generator = torch.Generator().manual_seed(0)
    g, h, k = group.sample((3, 50), generator=generator, low=-1.0, high=0.0, dtype=torch.float64)
    points = torch.rand(50, 7, 2, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(
        group.act(group.compose(g, h), points), group.act(g, group.act(h, points))
    )
    torch.testing.assert_close(group.matrix(group.compose(g, h)), group.matrix(g) @ group.matrix(h))
    torch.testing.assert_close(
        group.compose(group.compose(g, h), k), group.compose(g, group.compose(h, k))
    )
    torch.testing.assert_close(group.compose(g, group.identity((50,)).double()), g)


def test_blurs_compose_by_their_variances() -> None:
    # smooth pictures and kernels wide enough for the sum: the truncation is then small
    images = torch.nn.functional.interpolate(noise(1, 8), (64, 64), mode="bicubic")
    g, h = torch.tensor([[1.2]]), torch.tensor([[1.6]])
    blur = GaussianBlur(17)
    twice, both = blur(blur(images, h), g), blur(images, blur.group.compose(g, h))
    assert blur.group.compose(g, h).item() == pytest.approx(2.0)
    assert (twice - both)[..., 9:-9, 9:-9].abs().max() < 1e-3
    assert (twice - images).abs().max() > 0.02
    group = Blur()
    torch.testing.assert_close(group.matrix(group.compose(g, h)), group.matrix(g) @ group.matrix(h))


@pytest.mark.parametrize("transform", [Grayscale(), Solarize()])
def test_switches_do_nothing_twice(transform: Transform) -> None:
    images, on = noise(4), torch.tensor([[1.0], [0.0], [1.0], [0.0]])
    once = transform(images, on)
    assert (transform(once, on) - once).abs().max() <= 1e-4  # luma's weights sum to 0.9999
    assert torch.equal(once[1::2], images[1::2])
    assert torch.equal(transform.group.compose(on, on), on)


@pytest.mark.parametrize("group", [Crop(), Blur(), Switch(), Jitter()])
def test_semigroups_say_so(group: Group) -> None:
    element = group.identity((2,))
    assert not group.invertible
    with pytest.raises(TypeError, match="semigroup without inverse"):
        group.inverse(element)
    other = element + torch.rand(2, group.dim)
    assert torch.equal(group.relative(element, other), other - element)
    if isinstance(group, Jitter):
        with pytest.raises(TypeError, match="has no compose"):
            group.compose(element, element)


def test_the_order_of_jitter_is_in_its_element() -> None:
    jitter = ColorJitter(0.4, 0.4, 0.4, 0.1, p=1.0)
    images = noise(2000, 2)
    elements = jitter.sample(images, torch.Generator().manual_seed(0))
    places = elements[:, 4:]
    assert torch.equal(places.sort(dim=1)[0], torch.arange(4.0).expand(2000, 4))
    counts = torch.unique(places, dim=0, return_counts=True)[1]
    assert len(counts) == 24
    assert ((counts - 2000 / 24) ** 2 / (2000 / 24)).sum() < 50  # chi square, 23 degrees
    # another order of the same strengths is another picture
    other = elements.clone()
    other[:, 4:] = 3 - places
    assert (jitter(images, elements) - jitter(images, other)).abs().amax((1, 2, 3)).median() > 1e-3


def test_probabilities_and_identities() -> None:
    images = noise(3000, 4)
    transforms: list[tuple[Transform, float]] = [
        (RandomFlip(0.3, 0.0), 0.3),
        (QuarterTurn(0.6), 0.6),
        (Rotation(p=0.4), 0.4),
        (ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8), 0.8),
        (Grayscale(0.2), 0.2),
        (GaussianBlur(3, p=0.5), 0.5),
        (Solarize(0.1), 0.1),
    ]
    for transform, p in transforms:
        elements = transform.sample(images, torch.Generator().manual_seed(0))
        idle = (elements == transform.group.identity((1,))).all(dim=1)
        assert (~idle).float().mean() == pytest.approx(p, abs=0.035), transform
        assert torch.equal(transform(images, elements)[idle], images[idle])


def test_a_draw_does_not_depend_on_the_batch() -> None:
    pipeline = presets.byol(8).pipelines[0]
    generator = torch.Generator().manual_seed(0)
    uniform = torch.rand(40, pipeline.num_draws, generator=generator, dtype=torch.float64)
    images = noise(40)
    elements = pipeline.parameters(uniform, (12, 12))
    whole = pipeline.apply(images, elements)
    some = torch.tensor([7, 31, 2])
    few = pipeline.parameters(uniform[some], (12, 12))
    for name, element in few.items():
        assert torch.equal(element, elements[name][some])
    torch.testing.assert_close(pipeline.apply(images[some], few), whole[some], rtol=0, atol=1e-6)
    # and seeded generators repeat it
    first, drawn = pipeline(images, torch.Generator().manual_seed(3))
    second, again = pipeline(images, torch.Generator().manual_seed(3))
    assert torch.equal(first, second)
    assert all(torch.equal(drawn[name], again[name]) for name in drawn)


@pytest.mark.parametrize("p", [0.0, 0.5, 1.0])
def test_any_order_of_transforms(p: float) -> None:
    def transforms() -> list[Transform]:
        return [
            Grayscale(p),
            QuarterTurn(p),
            RandomFlip(p, p),
            ColorJitter(0.4, 0.4, 0.4, 0.1, p=p),
            Solarize(p),
            Shift(p=p),
            GaussianBlur(3, p=p),
            RandomResizedCrop(8),
        ]

    images = noise(9)
    before = images.clone()
    for order in (transforms(), transforms()[::-1], transforms()[3:] + transforms()[:3]):
        found, elements = Compose(order)(images, torch.Generator().manual_seed(0))
        assert torch.equal(images, before)
        alone = images
        for transform in order:
            alone = transform(alone, elements[transform.factor])
        torch.testing.assert_close(found, alone, rtol=0, atol=1e-6)


def test_groups_of_factors() -> None:
    groups = presets.byol(8).groups
    assert groups["flip"] == Flip(2)
    assert Shift().group == Translation(2)
    assert list(groups) == ["crop", "flip", "jitter", "grayscale", "blur", "solarize"]


def test_bad_input() -> None:
    images = noise(2)
    with pytest.raises(UserError, match=r"flip needs elements \(2, 2\), got \(3, 2\)"):
        RandomFlip()(images, torch.ones(3, 2))
    with pytest.raises(UserError, match="cannot be transformed: give"):
        RandomFlip()(images[0], torch.ones(3, 2))
    with pytest.raises(UserError, match="two transforms of one factor"):
        Compose([Rotation(), QuarterTurn()])
    with pytest.raises(UserError, match="the views' factors differ"):
        Augmentation([[RandomFlip()], [Rotation()]])
    with pytest.raises(UserError, match="needs RGB images, got 1"):
        Grayscale(1.0)(images[:, :1], torch.ones(2, 1))
    with pytest.raises(UserError, match="quarter turns need square images"):
        QuarterTurn()(images[..., :8], torch.full((2, 1), math.pi / 2))
    with pytest.raises(UserError, match="reach beyond images"):
        GaussianBlur(31)(images, torch.ones(2, 1))
    for make in (
        lambda: GaussianBlur(4),
        lambda: GaussianBlur(3, sigma=(0.0, 1.0)),
        lambda: RandomResizedCrop(0),
        lambda: RandomResizedCrop(8, scale=(0.5, 2.0)),
        lambda: Solarize(threshold=0.2),
        lambda: ColorJitter(0.4, 0.4, 0.4, 0.7),
        lambda: Shift((1.5, 0.0)),
        lambda: Rotation((3.0, -3.0)),
    ):
        with pytest.raises(UserError):
            make()


@pytest.mark.gpu
def test_the_device_makes_the_same_pictures() -> None:
    augmentation = presets.byol(32)
    images = noise(16, 40)
    uniform = torch.rand(16, 2, augmentation.num_draws, dtype=torch.float64)
    elements = augmentation.parameters(uniform, (40, 40))
    there = augmentation.apply(images.cuda(), {k: e.cuda() for k, e in elements.items()}).cpu()
    here = augmentation.apply(images, elements)
    off = (there - here).abs() > 1e-4
    assert off.float().mean() < 1e-3  # solarization's jump
