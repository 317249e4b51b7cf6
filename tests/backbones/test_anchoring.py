from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ssl_equiv.backbones.anchored_blocks import Blocks, norm_and_energy
from ssl_equiv.backbones.anchoring import anchor, anchor_offsets, phase_norms, roll
from ssl_equiv.errors import UserError

GOLDEN = Path(__file__).parents[1] / "golden" / "polyphase_order.npz"


def random_maps(size: int, channels: int = 3, batch: int = 4, seed: int = 0) -> Tensor:
    return torch.randn(batch, channels, size, size, generator=torch.Generator().manual_seed(seed))


def test_the_published_order() -> None:
    with np.load(GOLDEN, allow_pickle=False) as golden:
        x, period = torch.from_numpy(golden["x"]), int(golden["patch"])
        rolled, offsets = anchor(x, period)
        assert torch.equal(rolled, torch.from_numpy(golden["out"]))
        norms = phase_norms(x, period)
        torch.testing.assert_close(norms.float(), torch.from_numpy(golden["phase_norms"]))
        chosen = offsets[:, 0] * period + offsets[:, 1]
        assert torch.equal(chosen, torch.from_numpy(golden["argmax"]))


@pytest.mark.parametrize("layout", ["NCHW", "NHWC", "channels_last"])
def test_roll_is_torch_roll_and_its_gradient_rolls_back(layout: str) -> None:
    x = random_maps(6).requires_grad_()
    shifts = torch.tensor([[0, 0], [1, -2], [7, 5], [-3, 4]])
    expected = torch.stack([m.roll(s.tolist(), (1, 2)) for m, s in zip(x, shifts, strict=True)])
    upstream = random_maps(6, seed=1)
    (wanted,) = torch.autograd.grad(expected, x, upstream)
    if layout == "NHWC":
        rolled = roll(x.permute(0, 2, 3, 1), shifts, "NHWC").permute(0, 3, 1, 2)
    elif layout == "channels_last":
        rolled = roll(x.contiguous(memory_format=torch.channels_last), shifts)
        assert rolled.is_contiguous(memory_format=torch.channels_last)
    else:
        rolled = roll(x, shifts)
    assert torch.equal(rolled, expected)
    (found,) = torch.autograd.grad(rolled, x, upstream)
    torch.testing.assert_close(found, wanted)


def black_and_white(size: int) -> Tensor:
    """Phases tie often: their squared norms are small whole numbers."""
    return (random_maps(size, channels=1, batch=64) > 1.5).float()


def sign_flips(size: int) -> Tensor:
    return torch.sign(random_maps(size, batch=16))  # all norms are equal


def two_spots(size: int) -> Tensor:
    """Equal spots in two phases, the way from one to the other not the way back."""
    x = torch.zeros(1, 2, size, size)
    x[0, :, 0, 0] = x[0, :, size // 4 + 1, 2] = 1
    return x


def constant(size: int) -> Tensor:
    return torch.full((2, 3, size, size), 0.7)


def stripes(size: int) -> Tensor:
    """Period 2 in both axes, and 3 in one."""
    rows = torch.arange(size)
    x = ((rows % 2)[:, None] + 2 * (rows % 2)).float() + 0 * rows
    return torch.stack([x, (rows % 3 == 0).float().expand(size, size)])[:, None]


@pytest.mark.parametrize("maps", [random_maps, black_and_white, sign_flips, two_spots, constant])
@pytest.mark.parametrize(("size", "period"), [(8, 2), (12, 4), (28, 7), (32, 16), (7, 7)])
def test_a_shifted_map_is_anchored_to_the_same_blocks(maps, size: int, period: int) -> None:
    x = maps(size)
    reference, _ = anchor(x, period)
    shifts = [(i, j) for i in range(0, size, 1 if size < 10 else 3) for j in range(0, size, 2)]
    for shift in shifts:
        found, offsets = anchor(x.roll(shift, (2, 3)), period)
        assert offsets.min() >= 0
        assert offsets.max() < period
        for one, other in zip(found, reference, strict=True):
            assert same_up_to_blocks(one, other, period), shift


@pytest.mark.parametrize("smoothing", [0, 1, 3])
@pytest.mark.parametrize("maps", [random_maps, black_and_white, two_spots, constant])
def test_smoothed_norms_and_blocks_that_are_no_squares(maps, smoothing: int) -> None:
    x = maps(24)[:8]
    for period in ((4, 6), (8, 1), (3, 24), (6, 6)):
        reference, _ = anchor(x, period, smoothing=smoothing)
        last, _ = anchor(x.permute(0, 2, 3, 1), period, "NHWC", smoothing)
        for shift in ((1, 0), (0, 1), (5, 7), (-9, 14)):
            found, offsets = anchor(x.roll(shift, (2, 3)), period, smoothing=smoothing)
            assert (offsets < torch.tensor(period)).all()
            for one, other in zip(found, reference, strict=True):
                steps = [(i, j) for i in range(0, 24, period[0]) for j in range(0, 24, period[1])]
                assert any(torch.equal(one, other.roll(s, (1, 2))) for s in steps), (period, shift)
        assert last.shape == (len(x), 24, 24, x.shape[1])


def test_smoothing_is_a_binomial_average_of_squared_norms() -> None:
    x = random_maps(12)
    squared = phase_norms(x, 4).square().view(4, 4, 4)
    around = torch.nn.functional.pad(squared[:, None], (1, 1, 1, 1), mode="circular")
    kernel = torch.tensor([1.0, 2, 1], dtype=torch.float64) / 4
    kernel = (kernel[:, None] * kernel)[None, None]
    smooth = torch.nn.functional.conv2d(around, kernel).flatten(1)
    wanted = smooth.argmax(dim=1)
    offsets = anchor_offsets(x, 4, smoothing=1)
    assert torch.equal(offsets[:, 0] * 4 + offsets[:, 1], wanted)


def test_smoothing_follows_fractions_of_pixels() -> None:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(64, 3, 24, 24, generator=generator)
    x = torch.nn.functional.interpolate(coarse, (64, 64), mode="bicubic")
    spectrum, rows = torch.fft.rfft2(x), torch.fft.fftfreq(64)[:, None]
    half = torch.fft.irfft2(spectrum * torch.exp(-1j * torch.pi * rows), s=(64, 64))
    far = []
    for smoothing in (0, 2):
        before, after = (anchor_offsets(maps, 16, smoothing=smoothing) for maps in (x, half))
        step = (after - before + 8) % 16 - 8
        far.append((step.abs() > 1).any(dim=1).float().mean().item())
    assert far[1] < 0.5 * far[0]


def test_blocks_are_cut_and_pasted_as_rolled_maps() -> None:
    x = random_maps(12).permute(0, 2, 3, 1).contiguous().requires_grad_()
    offsets = torch.tensor([[0, 0], [3, 1], [2, 5], [-1, 7]])  # shifted windows reach further
    blocks = Blocks(offsets, (12, 12), (4, 6))
    cut = blocks.cut(x.flatten(1, 2))
    rolled = roll(x, -offsets, "NHWC").view(4, 3, 4, 2, 6, 3)
    assert torch.equal(cut, rolled.transpose(2, 3).reshape(-1, 24, 3))
    assert torch.equal(blocks.paste(cut), x.flatten(1, 2))
    upstream = torch.randn(cut.shape, generator=torch.Generator().manual_seed(3))
    (found,) = torch.autograd.grad(cut, x, upstream)
    assert torch.equal(found.flatten(1, 2), blocks.paste(upstream))


@pytest.mark.parametrize("eps", [1e-6, 1e-5])
def test_energy_of_a_norm_is_the_squared_norm(eps: float) -> None:
    norm = nn.LayerNorm(48, eps=eps)
    for x in (torch.randn(2, 30, 48), 5 + torch.randn(2, 30, 48), torch.zeros(2, 30, 48)):
        y, energy = norm_and_energy(norm, x)
        assert torch.equal(y, norm(x))
        assert energy is not None
        torch.testing.assert_close(energy, x.square().sum(dim=-1), rtol=1e-5, atol=1e-4)
    y, energy = norm_and_energy(norm.bfloat16(), x.bfloat16())
    assert energy is None  # its statistics would be half, too


def test_periodic_maps() -> None:
    x = stripes(24)
    for period in (2, 4, 8, 12):
        reference, _ = anchor(x, period)
        for shift in ((1, 0), (0, 1), (5, 7), (23, 2)):
            found, _ = anchor(x.roll(shift, (2, 3)), period)
            for one, other in zip(found, reference, strict=True):
                assert same_up_to_blocks(one, other, period), (period, shift)


def same_up_to_blocks(one: Tensor, other: Tensor, period: int) -> bool:
    size = one.shape[-1]
    return any(
        torch.equal(one, other.roll((i, j), (1, 2)))
        for i in range(0, size, period)
        for j in range(0, size, period)
    )


def test_half_precision_norms_do_not_overflow() -> None:
    x = random_maps(16)
    wanted = anchor_offsets(1000 * x, 4)
    for dtype in (torch.float16, torch.bfloat16):
        big = (1000 * x).to(dtype)  # squares are beyond what float16 holds
        wide = (40_000 * torch.ones(1, 64, 8, 8)).to(dtype)  # sums over channels are, too
        rolled, _ = anchor(wide, 4)
        assert torch.equal(rolled, wide)
        assert torch.isfinite(phase_norms(big, 4)).all()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(anchor_offsets(big, 4), anchor_offsets(big.float(), 4))
    assert torch.equal(anchor_offsets(x, 4), wanted)  # nor do they depend on the scale


def test_it_compiles_to_one_graph() -> None:
    x = random_maps(16).requires_grad_()
    compiled = torch.compile(lambda t: anchor(t, 4)[0], fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(x), anchor(x, 4)[0])
    compiled(x).sum().backward()
    assert torch.equal(x.grad, torch.ones_like(x))


def test_sizes_that_do_not_divide() -> None:
    with pytest.raises(UserError, match=r"a map of 30 x 33 .* blocks of 16: use 32 x 32"):
        anchor(torch.zeros(1, 1, 30, 33), 16)
    with pytest.raises(UserError, match=r"blocks of 16 x 8: use 32 x 32"):
        anchor(torch.zeros(1, 1, 30, 33), (16, 8))
    with pytest.raises(UserError, match="period 0"):
        anchor(torch.zeros(1, 1, 4, 4), 0)
