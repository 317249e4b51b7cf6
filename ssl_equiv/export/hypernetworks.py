"""The published layout of SIE's predictors (arXiv 2302.10283) in that of ours.

There a network of the action makes the predictor's parameters; here nothing is made for a sample.
"""

from __future__ import annotations

import torch

from ssl_equiv.export.published import Published, Shapes, Weights

_HIDDEN = 20  # width of the deep predictor, as in the published ablation


def linear_predictor(found: Published, prefix: str, action_dim: int, dim: int) -> Weights:
    """The state of :class:`ActionLinear` from the layer that makes ``W(z) = reshape(weight z)``.

    Args:
        found: The checkpoint.
        prefix: What stands before the numbers of the hypernetwork's layers.
        action_dim: K, entries of an action.
        dim: E, width of the embedding.

    Raises:
        UserError: names or shapes are not those of K and E.
    """
    flat = found.section(prefix, {"0.weight": (dim * dim, action_dim)})["0.weight"]
    return {"weight": flat.view(dim, dim, -1).transpose(1, 2).flatten(1).contiguous()}


def deep_predictor(found: Published, prefix: str, action_dim: int, dim: int) -> Weights:
    """The state of :class:`DeepActionMLP`; arguments and errors as of :func:`linear_predictor`.

    The last of the published layers makes W1, b1, W2, b2 in a row, matrices row by row.
    """
    small, sizes = (action_dim, action_dim), [dim * _HIDDEN, _HIDDEN, _HIDDEN * dim, dim]
    shapes: Shapes = {
        **{f"{layer}.weight": small for layer in (0, 2)},
        **{f"{layer}.bias": small[:1] for layer in (0, 2)},
        "4.weight": (sum(sizes), action_dim),
        "4.bias": (sum(sizes),),
    }
    section = found.section(prefix, shapes)
    made = torch.cat([section.pop("4.weight").T, section.pop("4.bias")[None]])  # K + 1 rows
    w1, b1, w2, b2 = torch.split(made, sizes, dim=1)
    state = {f"action_net.{name}": value for name, value in section.items()}
    for name, weight, bias in (("first", w1, b1), ("second", w2, b2)):
        matrices = weight.view(action_dim + 1, bias.shape[1], -1)
        both = torch.cat([matrices, bias[..., None]], dim=2).transpose(0, 1)
        state[f"{name}.weight"] = both.flatten(1).contiguous()
    return state
