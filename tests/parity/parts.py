"""Single parts: predictor, metrics, relative elements."""

from __future__ import annotations

import ast

import numpy as np
import torch
from torch import Tensor

from eval.metrics import r2_pooled
from eval.ranks import nearest, pose_error, retrieval_ranks, retrieval_scores
from ssl_equiv.backbones.anchoring import anchor, phase_norms
from ssl_equiv.groups import SO3
from ssl_equiv.groups.conversions import euler_xyz_to_quat, quat_conjugate, quat_multiply
from ssl_equiv.heads import ActionLinear, DeepActionMLP, EquiangularHead
from ssl_equiv.losses import equiangular_loss
from tests.parity.common import Arrays, Errors, factored, relative_error, tensor


def hypernetwork_linear(arrays: Arrays) -> Errors:
    """The action-conditioned predictor and its gradients."""
    x = tensor(arrays, "x").squeeze(1).requires_grad_()
    z = tensor(arrays, "z").requires_grad_()
    predictor = ActionLinear(z.shape[1], x.shape[1])
    predictor.weight.data = factored(arrays, "weights/hypernet.net.0.weight")
    out = predictor(x, z)
    out.backward(tensor(arrays, "upstream"))
    want = factored(arrays, "grad/weights/hypernet.net.0.weight").numpy()
    return {
        "out": relative_error(out, arrays["out"]),
        "grad x": relative_error(x.grad, arrays["grad/x"]),
        "grad z": relative_error(z.grad, arrays["grad/z"]),
        "grad weight": relative_error(predictor.weight.grad, want),
    }


def hypernetwork_deep(arrays: Arrays) -> Errors:
    """The MLP whose parameters an MLP makes of the action."""
    x = tensor(arrays, "x").squeeze(1).requires_grad_()
    z = tensor(arrays, "z").requires_grad_()
    width, hidden = x.shape[1], int(ast.literal_eval(str(arrays["config"]))["predictor"])
    predictor = DeepActionMLP(z.shape[1], width, hidden)
    for ours, theirs in _DEEP.items():
        predictor.action_net.get_parameter(ours).data = tensor(arrays, f"weights/{theirs}")
    layers = _deep_layers(arrays, "weights/", width, hidden)
    predictor.first.weight.data, predictor.second.weight.data = layers
    out = predictor(x, z)
    out.backward(tensor(arrays, "upstream"))
    errors = {
        "out": relative_error(out, arrays["out"]),
        "grad x": relative_error(x.grad, arrays["grad/x"]),
        "grad z": relative_error(z.grad, arrays["grad/z"]),
    }
    for ours, theirs in _DEEP.items():
        grad = predictor.action_net.get_parameter(ours).grad
        errors[f"grad {theirs}"] = relative_error(grad, arrays[f"grad/weights/{theirs}"])
    wanted = _deep_layers(arrays, "grad/weights/", width, hidden)
    for layer, want in zip((predictor.first, predictor.second), wanted, strict=True):
        errors[f"grad layer to {len(want)}"] = relative_error(layer.weight.grad, want.numpy())
    return errors


_DEEP = {
    "0.weight": "hypernet.net.0.weight",
    "0.bias": "hypernet.net.0.bias",
    "2.weight": "hypernet.net.2.weight",
    "2.bias": "hypernet.net.2.bias",
}


def _deep_layers(arrays: Arrays, prefix: str, width: int, hidden: int) -> list[Tensor]:
    """The last layer, which makes W1, b1, W2, b2, in the layout of two :class:`ActionLinear`."""
    last = f"{prefix}hypernet.net.4"
    flat = torch.cat([tensor(arrays, f"{last}.weight").T, tensor(arrays, f"{last}.bias")[None]])
    sizes = [width * hidden, hidden, hidden * width, width]
    w1, b1, w2, b2 = flat.split(sizes, dim=1)  # each (K + 1, ...)
    layers = []
    for weight, bias, rows in ((w1, b1, hidden), (w2, b2, width)):
        matrix = torch.cat([weight.view(len(flat), rows, -1), bias[..., None]], dim=2)
        layers.append(matrix.transpose(0, 1).flatten(1).contiguous())
    return layers


def r2(arrays: Arrays) -> Errors:
    """Pooled R2 of a regression."""
    ours = r2_pooled(tensor(arrays, "pred"), tensor(arrays, "target"))
    return {"r2": relative_error(ours, arrays["r2"])}


def retrieval(arrays: Arrays) -> Errors:
    """Ranks, MRR, hit rates and PRE of predictions from each object's first view."""
    views = int(arrays["views_per_object"])
    quats = euler_xyz_to_quat(tensor(arrays, "euler")).unflatten(0, (-1, views))
    embedding = tensor(arrays, "embeddings").unflatten(0, (-1, views))
    predictor = ActionLinear(4, embedding.shape[-1])
    predictor.weight.data = factored(arrays, "hypernet_weight")
    actions = quat_multiply(quat_conjugate(quats[:, :1]), quats).float()  # signs as published
    predictions = predictor.orbit(embedding[:, 0], actions)
    ranks = retrieval_ranks(predictions, embedding, torch.arange(views).expand(len(quats), -1))
    found = nearest(predictions.flatten(0, 1), embedding.flatten(0, 1))
    quats = quats.flatten(0, 1)
    ours = {
        "ranks": ranks.flatten(),
        "PRE": pose_error(quats, quats[found]),
        **{n.upper(): score for n, score in retrieval_scores(ranks, (1, 2, 5, 10)).items()},
    }
    return {name: relative_error(value, arrays[name]) for name, value in ours.items()}


def relative_rotation(arrays: Arrays) -> Errors:
    """Euler pairs to their relative rotation, as quaternion up to sign and as matrix."""
    group = SO3()
    start, end = (euler_xyz_to_quat(tensor(arrays, f"euler_{i}")) for i in (1, 2))
    relative = group.relative(start, end)
    want = arrays["quat_xyzw"]
    sign = torch.from_numpy(np.sign((relative.numpy() * want).sum(-1, keepdims=True)))
    return {
        "quaternion": relative_error(relative * sign, want),
        "matrix": relative_error(group.matrix(relative), arrays["matrix"]),
    }


def equiangular_head(arrays: Arrays) -> Errors:
    """Logits, loss and gradient of classification by fixed vectors."""
    features = tensor(arrays, "features").requires_grad_()
    basis, label = tensor(arrays, "basis"), torch.from_numpy(arrays["labels"])
    head = EquiangularHead(features.shape[1], 1, projection=False)
    head.basis = basis
    loss = equiangular_loss(features, label, basis)
    loss.backward()
    blockwise = equiangular_loss(features, label, basis, block=7)
    return {
        "logits": relative_error(head(features), arrays["logits"]),
        "loss": relative_error(loss, arrays["loss"]),
        "loss in blocks": relative_error(blockwise, arrays["loss"]),
        "grad features": relative_error(features.grad, arrays["grad/features"]),
    }


def polyphase(arrays: Arrays) -> Errors:
    """Norms of the phases, the strongest one, and the map that is rolled to it."""
    x, period = tensor(arrays, "x"), int(arrays["patch"])
    rolled, offsets = anchor(x, period)
    return {
        "out": relative_error(rolled, arrays["out"]),
        "phase norms": relative_error(phase_norms(x, period), arrays["phase_norms"]),
        "argmax": relative_error(offsets[:, 0] * period + offsets[:, 1], arrays["argmax"]),
    }


KINDS = {
    "sie_repo_hypernetwork_linear*.npz": hypernetwork_linear,
    "sie_repo_hypernetwork_deep*.npz": hypernetwork_deep,
    "sie_repo_r2*.npz": r2,
    "sie_repo_retrieval*.npz": retrieval,
    "relative_rotation*.npz": relative_rotation,
    "ebv_repo_head*.npz": equiangular_head,
    "polyphase_order*.npz": polyphase,
}
