"""seq-JEPA: one training step from images, on a linear encoder."""

from __future__ import annotations

from typing import Any

import torch
from timm.models import register_model
from torch import nn

from ssl_equiv.backbones import BackboneConfig
from ssl_equiv.groups import SO3
from ssl_equiv.groups.conversions import euler_xyz_to_quat
from ssl_equiv.methods import SeqJEPA
from ssl_equiv.methods.momentum import MomentumConfig
from tests.parity.common import Arrays, Errors, relative_error, start, tensor, under

HEADS = 4  # no array tells it


@register_model
def parity_linear(inputs: int, dim: int, **_: Any) -> nn.Module:
    """The files' encoder: flatten and one linear layer."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(inputs, dim))
    model.num_features = dim  # type: ignore[assignment]
    return model


def transforms(arrays: Arrays) -> Errors:
    """Features, aggregate, loss, the images' gradient, BatchNorm's statistics after the step."""
    dim, inputs = arrays["weights/encoder.proj.weight"].shape
    layers = {name.split(".")[3] for name in arrays if ".layers." in name}
    action_width, action_dim = arrays["weights/action_proj.0.weight"].shape
    method = SeqJEPA(
        BackboneConfig("parity_linear", options={"inputs": inputs, "dim": dim}),
        observations=arrays["x"].shape[1] - 1,
        action_dim=action_dim,
        action_width=action_width,
        layers=len(layers),
        heads=HEADS,
        predictor_width=len(arrays["weights/predictor.0.weight"]),
        momentum=MomentumConfig() if "weights/target_encoder.proj.weight" in arrays else None,
    ).train()
    start(method.backbone[1], under(arrays, "weights/encoder.proj."))  # type: ignore[index]
    if method.target is not None:
        start(method.target.network[1], under(arrays, "weights/target_encoder.proj."))  # type: ignore[index]
    head = method.head
    start(head.action_linear, under(arrays, "weights/action_proj.0."))
    start(head.predictor, under(arrays, "weights/predictor."))
    start(head.transformer, under(arrays, "weights/transformer_encoder.transformer_encoder."))
    start(head.transformer.norm, under(arrays, "weights/transformer_encoder.norm."))  # type: ignore[arg-type]
    head.aggregate_token.data = tensor(arrays, "weights/agg_token")

    x, actions = tensor(arrays, "x").requires_grad_(), tensor(arrays, "rel_quat")
    aggregates: list[torch.Tensor] = []
    head.transformer.register_forward_hook(lambda *made: aggregates.append(made[-1][:, 0]))
    views = [view.features for view in method.encode_views(x)]
    target = method.encode_target(x[:, -1])
    terms = method.terms_of_sequence(torch.stack(views, dim=1), actions, target)
    loss = method.total(terms)
    loss.backward()

    absolute = euler_xyz_to_quat(tensor(arrays, "euler")).float()
    relative = SO3().relative(absolute[:, :-1], absolute[:, 1:])
    sign = torch.sign((relative * actions).sum(dim=-1, keepdim=True))
    errors = {
        "loss": relative_error(loss, arrays["loss"]),
        "aggregate": relative_error(aggregates[0], arrays["aggregate"]),
        "grad x": relative_error(x.grad, arrays["grad/x"]),
        "actions": relative_error(relative * sign, arrays["rel_quat"]),
    }
    for number in (1, 2):
        errors[f"z{number}"] = relative_error(views[number - 1], arrays[f"z{number}"])
    for ours, theirs in ((head.action_norm, "action_proj.1."), (head.predictor, "predictor.")):
        for name, buffer in ours.named_buffers():
            errors[theirs + name] = relative_error(buffer, arrays[f"weights/{theirs}{name}"])
    return errors


KINDS = {"seqjepa_repo_transforms_*.npz": transforms}
