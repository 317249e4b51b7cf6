"""SIE's family and its baselines: one training step from backbone features."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from ssl_equiv.backbones import BackboneConfig
from ssl_equiv.methods import SEN, SIE, AugSelf, EquiMod, Method, SimCLR, VICReg
from ssl_equiv.representation import Representation
from tests.parity.common import Arrays, Errors, factored, relative_error, start, tensor, under

Options = dict[str, Any]
Terms = dict[str, Tensor]

_HYPERNETWORK = "predictor/hypernet.net.0.weight"


def _vicreg_weights(config: Options) -> Options:
    return {
        "invariance_weight": config["sim_coeff"],
        "variance_weight": config["std_coeff"],
        "covariance_weight": config["cov_coeff"],
    }


def _sie(config: Options, **options: Any) -> SIE:
    weight = config["equi_factor"] * config["sim_coeff"]
    options = {"equi_dim": config["equi"], "equivariance_weight": weight, **options}
    return SIE(**_vicreg_weights(config), **options)


def _equimod(config: Options, objective: Any, **options: Any) -> EquiMod:
    options |= {"equivariance_weight": config["equi_factor"], "temperature": config["simclr_temp"]}
    return EquiMod(objective=objective, **_vicreg_weights(config), **options)


# of a file's configuration; the keyword arguments are common to all methods
MAKE: dict[str, Callable[..., Method]] = {
    "SIE": _sie,
    "SIERotColor": _sie,
    "SIENoVar": lambda config, **o: _sie(config, **o, prediction_variance_weight=0.0),
    "SIEOnlyEqui": lambda config, equi_dim=None, **o: _sie(
        config,
        **o,
        equi_dim=o["backbone"].options["dim"],
        equivariance_weight=config["sim_coeff"],
    ),
    "VICReg": lambda config, action_dim, **o: VICReg(**_vicreg_weights(config), **o),
    "VICRegPartInv": lambda config, action_dim, **o: VICReg(
        **_vicreg_weights(config), **o, free_dims=config["equi"]
    ),
    "VICRegEquiMod": lambda config, **o: _equimod(config, "vicreg", **o),
    "SimCLR": lambda config, action_dim, **o: SimCLR(temperature=config["simclr_temp"], **o),
    "SimCLROnlyEqui": lambda config, **o: SEN(temperature=config["simclr_temp"], **o),
    "SimCLREquiMod": lambda config, **o: _equimod(config, "simclr", **o),
    "SimCLRAugSelf": lambda config, **o: AugSelf(
        temperature=config["simclr_temp"], action_weight=config["ec_weight"], **o
    ),
}


def published_terms(kind: str, terms: Terms) -> Terms:
    """Ours under the published names, where those are unambiguous."""
    if kind == "SimCLREquiMod":
        return {"repr_loss_equi": terms["equivariance"]}
    if kind == "SimCLRAugSelf":
        return {"repr_loss_inv": terms["contrast"], "repr_loss_equi": terms["action"]}
    if kind == "VICRegEquiMod":
        return {
            "repr_loss_inv": terms["invariance"],
            "repr_loss_equi": terms["equivariance"],
            "std_loss": terms["variance"] + terms["equi_variance"],
            "cov_loss": terms["covariance"] + terms["equi_covariance"],
        }
    names = {
        "invariance": "repr_loss_inv",
        "equivariance": "repr_loss_equi",
        "variance": "std_loss",
        "prediction_variance": "pred_std_loss",
        "covariance": "cov_loss",
    }
    if kind == "SimCLROnlyEqui":
        del names["equivariance"]
    if kind == "SIENoVar":
        del names["prediction_variance"]
    return {published: terms[ours] for ours, published in names.items() if ours in terms}


def compare(kind: str, arrays: Arrays) -> Errors:
    """Loss, terms and all gradients of one training step."""
    config = ast.literal_eval(str(arrays["config"]))
    method = MAKE[kind](
        config,
        backbone=BackboneConfig("parity_features", options={"dim": arrays["x"].shape[1]}),
        projector_widths=tuple(int(width) for width in config["mlp"].split("-")),
        action_dim=arrays["z"].shape[1],
    )
    modules = _modules(method)
    for name, module in modules.items():
        start(module, under(arrays, f"weights/{name}/"))
    linear = f"weights/{_HYPERNETWORK}" in arrays
    if linear:
        method.predictor.weight.data = factored(arrays, f"weights/{_HYPERNETWORK}")
    x, y = (tensor(arrays, name).requires_grad_() for name in "xy")
    views = [Representation(features, method.parts) for features in (x, y)]
    if hasattr(method, "terms_of_action"):
        terms = method.terms_of_action(views, tensor(arrays, "z"))
    else:
        terms = method.terms(views)  # type: ignore[call-arg]
    loss = method.total(terms)
    loss.backward()

    errors = {"loss": relative_error(loss, arrays["loss"])}
    for name, value in published_terms(kind, terms).items():
        errors[name] = relative_error(value, arrays[f"term/{name}"])
    for name, value in (("x", x), ("y", y)):
        errors[f"grad {name}"] = relative_error(value.grad, arrays[f"grad/{name}"])
    for name, module in modules.items():
        for entry, parameter in module.named_parameters():
            want = arrays[f"grad/{name}.{entry}"]
            errors[f"grad {name}.{entry}"] = relative_error(parameter.grad, want)
        for entry, buffer in module.named_buffers():
            errors[f"{name}.{entry}"] = relative_error(buffer, arrays[f"weights/{name}/{entry}"])
    if linear:
        want = factored(arrays, f"grad/{_HYPERNETWORK.replace('/', '.')}").numpy()
        errors["grad predictor"] = relative_error(method.predictor.weight.grad, want)
    return errors


def _modules(method: Method) -> dict[str, nn.Module]:
    """What has weights of its own in the files, under the files' names."""
    names = {"projector": "projector", "projector_inv": "projector_inv"}
    names |= {"projector_equi": "projector_equi", "regressor": "predictor"}
    found = {theirs: getattr(method, ours, None) for ours, theirs in names.items()}
    return {name: module for name, module in found.items() if module is not None}


def _kind(name: str) -> Callable[[Arrays], Errors]:
    return lambda arrays: compare(name, arrays)


KINDS = {
    f"sie_repo_{name}{end}": _kind(name) for name in MAKE for end in (".npz", "_*.npz", "-*.npz")
}
