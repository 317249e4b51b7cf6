from __future__ import annotations

import torch

from ssl_equiv.transforms.blocks import block_size, context_and_targets, place_blocks


def test_block_sizes() -> None:
    assert block_size((0.0, 0.0), (10, 10), (0.16, 1.0), (1.0, 1.0)) == (4, 4)
    assert block_size((0.0, 0.0), (12, 12), (0.25, 1.0), (4.0, 4.0)) == (12, 3)
    assert block_size((0.0, 0.0), (2, 2), (0.01, 1.0), (1.0, 1.0)) == (1, 1)


def test_blocks_are_whole_and_go_everywhere() -> None:
    uniform = torch.rand(2000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    blocks = place_blocks(uniform, (2, 3), (5, 6))
    assert (blocks.sum(dim=(1, 2)) == 6).all()
    corners = {(int(b.nonzero()[0][0]), int(b.nonzero()[0][1])) for b in blocks}
    assert corners == {(row, column) for row in range(4) for column in range(4)}


def test_context_and_targets_are_disjoint_and_of_the_papers_sizes() -> None:
    uniform = torch.rand(500, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for sizes in ((0.0, 0.0, 0.0), (0.99, 0.99, 0.99)):
        context, target = context_and_targets(uniform, sizes, (14, 14))
        assert not (context & target).any()
        share = target.float().mean(dim=(1, 2))
        assert share.min() >= 0.14
        assert share.max() <= 4 * 0.21
        assert context.float().mean() > 0.2
        assert (context.sum(dim=(1, 2)) > 0).all()
