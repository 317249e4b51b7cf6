"""EquiCaps: one training step from feature maps, and the capsules' outputs."""

from __future__ import annotations

import ast
from typing import Literal

import torch
from torch import Tensor

from ssl_equiv.backbones import BackboneConfig
from ssl_equiv.groups import SE3, SO3, Group
from ssl_equiv.groups.conversions import euler_xyz_to_quat
from ssl_equiv.heads.capsules import Capsules, from_published
from ssl_equiv.methods import EquiCaps
from ssl_equiv.representation import Representation
from tests.parity.common import Arrays, Errors, relative_error, start, tensor, under


def equicaps(arrays: Arrays) -> Errors:
    """Loss, terms, outputs, statistics and all gradients of one step; relative poses."""
    config = ast.literal_eval(str(arrays["config"]))
    channels, *size = arrays["x"].shape[1:]
    num = arrays["weights/projector/conv_a.weight"].shape[0]
    edge = arrays["transform"].shape[-1]
    method = EquiCaps(
        BackboneConfig("test_resnet"),
        image_size=64,
        pose="3x3" if edge == 3 else "4x4",
        num_capsules=num,
        invariance_weight=config["sim_coeff"],
        equivariance_weight=config["equi_factor"],
        variance_weight=config["std_coeff"],
        covariance_weight=config["cov_coeff"],
    )
    capsules = Capsules(channels, (size[0], size[1]), num, edge**2)
    weights = from_published(under(arrays, "weights/projector/"))
    start(capsules, weights)
    x, y = (tensor(arrays, name).requires_grad_() for name in "xy")
    with torch.no_grad():  # calls before the step, whose outputs the file holds
        for _ in range(int(weights["norm.num_batches_tracked"]) - 2):
            capsules(x)
    columns = {"capsule_activation": (0, num), "capsule_pose": (num, num * (1 + edge**2))}
    views = [
        Representation(torch.cat([part.flatten(1) for part in capsules(view)], dim=1), columns)
        for view in (x, y)
    ]
    terms = method.terms_of_action(views, tensor(arrays, "transform"))
    loss = method.total(terms)
    loss.backward()

    errors = {"loss": relative_error(loss, arrays["loss"])}
    for name, published in _TERMS.items():
        errors[published] = relative_error(terms[name], arrays[f"term/{published}"])
    errors["grad x"] = relative_error(x.grad, arrays["grad/x"])
    errors["grad y"] = relative_error(y.grad, arrays["grad/y"])
    gradients = from_published(under(arrays, "grad/projector."))
    for name, parameter in capsules.named_parameters():
        errors[f"grad {name}"] = relative_error(parameter.grad, gradients[name].numpy())
    for name, buffer in capsules.named_buffers():
        errors[name] = relative_error(buffer, weights[name].numpy())
    errors["x_activation"] = relative_error(views[0]["capsule_activation"], arrays["x_activation"])
    errors["x_pose"] = relative_error(views[0]["capsule_pose"], arrays["x_pose"])
    return errors | relative_poses(arrays)


def relative_poses(arrays: Arrays) -> Errors:
    """Relative matrices from the two views' Euler angles and translations."""
    rotations = [euler_xyz_to_quat(tensor(arrays, f"euler_{i}")) for i in (1, 2)]
    if "translation_1" not in arrays:
        return {"transform": relative_error(_matrix(SO3(), *rotations), arrays["transform"])}
    errors = {}
    frames: tuple[Literal["object", "base"], ...] = ("object", "base")
    for frame in frames:
        group = SE3(frame)
        translations = [tensor(arrays, f"translation_{i}") for i in (1, 2)]
        start, end = map(group.pose, rotations, translations)
        want = arrays[f"matrix_{frame}_frame"]
        errors[f"{frame} frame"] = relative_error(_matrix(group, start, end), want)
    return errors


def _matrix(group: Group, start: Tensor, end: Tensor) -> Tensor:
    return group.matrix(group.relative(start, end))


_TERMS = {
    "invariance": "repr_loss_inv",
    "equivariance": "repr_loss_equi",
    "variance": "std_loss",
    "covariance": "cov_loss",
    "mean_entropy": "MEMAX_loss",
}

KINDS = {"equicaps_repo_EquiCaps_*.npz": equicaps}
