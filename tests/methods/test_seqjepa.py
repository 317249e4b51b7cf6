from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ssl_equiv.backbones import BackboneConfig
from ssl_equiv.cli import generate
from ssl_equiv.data.draws import Draw
from ssl_equiv.data.module import ViewDataModule
from ssl_equiv.data.views import ViewBatch, ViewDataset
from ssl_equiv.errors import UserError
from ssl_equiv.groups import SO3, HueDifference
from ssl_equiv.methods import MomentumConfig, SeqJEPA


def seqjepa(**options: object) -> SeqJEPA:
    torch.manual_seed(0)
    small: dict[str, object] = {"action_width": 32, "layers": 1, "predictor_width": 24}
    return SeqJEPA(BackboneConfig("test_resnet"), **{**small, **options})  # type: ignore[arg-type]


def batch(views: int = 4, objects: int = 6) -> ViewBatch:
    generator = torch.Generator().manual_seed(1)
    return ViewBatch(
        images=torch.randn(objects, views, 3, 32, 32, generator=generator),
        actions={
            "rotation": SO3().sample((objects, views), generator=generator),
            "floor_hue": HueDifference().sample((objects, views), generator=generator),
            "light_hue": HueDifference().sample((objects, views), generator=generator),
        },
        groups={"rotation": SO3(), "floor_hue": HueDifference(), "light_hue": HueDifference()},
        label=torch.arange(objects),
        index=torch.arange(objects),
    )


def test_the_loss_by_hand() -> None:
    method, views = seqjepa().train(), batch()
    rotation = views.actions["rotation"]
    actions = torch.stack([SO3().relative(rotation[:, i], rotation[:, i + 1]) for i in range(3)], 1)
    features = method.encode(views.images[:, :3].flatten(0, 1)).features.view(6, 3, -1)
    assert method.target is not None
    target = method.target.network(views.images[:, 3])
    prediction = method.head(features, actions)
    cosine = (prediction * target).sum(1) / (prediction.norm(dim=1) * target.norm(dim=1))
    have = method.terms(method.encode_views(views.images), views)["prediction"]
    torch.testing.assert_close(have, 1 - cosine.mean())


def test_without_momentum_the_target_is_the_backbone_without_gradient() -> None:
    method, views = seqjepa(momentum=None), batch()
    target = method.encode_target(views.images[:, -1])
    assert not target.requires_grad
    torch.testing.assert_close(target, method.encode(views.images[:, -1]).features.detach())
    assert {name.split(".")[0] for name in method.state_dict()} == {"backbone", "head"}


def test_rotation_and_colour_are_one_action() -> None:
    factors = ("rotation", "floor_hue", "light_hue")
    method, views = seqjepa(observations=4, factors=factors, action_dim=6), batch(views=5)
    actions = method.actions(views)
    assert actions.shape == (6, 4, 6)
    floor = views.actions["floor_hue"]
    torch.testing.assert_close(actions[..., 4:5], floor[:, 1:] - floor[:, :-1])
    with pytest.raises(UserError, match="action_dim is 4, but the factors rotation, floor_hue"):
        seqjepa(factors=("rotation", "floor_hue")).actions(views)
    with pytest.raises(UserError, match="the factor 'shape', but the data set has rotation, floor"):
        seqjepa(factors=("shape",)).actions(views)


def test_sequences_of_any_length_have_an_aggregate() -> None:
    method = seqjepa().eval()
    for length in (1, 2, 5):
        views = batch(views=length)
        steps = method.actions(views) if length > 1 else torch.zeros(6, 0, 4)
        aggregate = method.aggregate(views.images, steps)
        assert aggregate.shape == (6, method.dim + 32)
        features = torch.stack([method.encode(v).features for v in views.images.unbind(1)], 1)
        torch.testing.assert_close(aggregate, method.head.aggregate(features, steps))


def test_every_parameter_learns_but_the_targets() -> None:
    method, views = seqjepa().train(), batch()
    method.total(method.terms(method.encode_views(views.images), views)).backward()
    for name, parameter in method.named_parameters():
        assert (parameter.grad is None) == name.startswith("target."), name


def test_a_shorter_sequence_is_refused() -> None:
    with pytest.raises(UserError, match=r"SeqJEPA takes 4 views of each object, not 3: set data"):
        seqjepa().training_step(batch(views=3), 0)
    with pytest.raises(UserError, match="observations is 0"):
        seqjepa(observations=0)


def linear_r2(features: torch.Tensor, poses: torch.Tensor, seen: int) -> float:
    """R² of the rotation matrix by ridge regression from single views, on views not seen."""
    x = features.double()
    x = (x - x.mean((0, 1))) / (x.std((0, 1)) + 1e-9)
    y = SO3().matrix(poses).flatten(-2).double()
    x_fit, x_new = x[:, :seen].flatten(0, 1), x[:, seen:].flatten(0, 1)
    y_fit, y_new = y[:, :seen].flatten(0, 1), y[:, seen:].flatten(0, 1)
    ridge = x_fit.T @ x_fit + 100 * torch.eye(x.shape[-1], dtype=x.dtype)
    weight = torch.linalg.solve(ridge, x_fit.T @ (y_fit - y_fit.mean(0)))
    error = (x_new @ weight + y_fit.mean(0) - y_new).square().sum(0)
    return (1 - error / (y_new - y_new.mean(0)).square().sum(0)).mean().item()


@pytest.mark.slow
@pytest.mark.render
def test_eight_objects_are_learnt(tmp_path: Path) -> None:
    recipe = ["--recipe.num_views", "64", "--recipe.image_size", "32", "--val_fraction", "0"]
    generate.main(
        [
            *("--objects", "procedural", "--num_objects", "8", "--classes", "demo", *recipe),
            *("--recipe.lens_mm", "85", "--num_workers", "1", "--out", str(tmp_path / "data")),
        ]
    )
    module = ViewDataModule(str(tmp_path / "data"), num_workers=0)
    stored = ViewDataset(module.source, module.preprocess, np.arange(8))
    everything = stored.__getitems__([Draw(0, item) for item in range(8)])
    images = module.preprocess.normalize(everything.images)
    poses = everything.actions["rotation"]
    seen, steps, objects = 48, 200, torch.arange(8).repeat(2)

    method = seqjepa(observations=2, predictor_width=128, momentum=MomentumConfig(0.95))
    assert method.target is not None

    @torch.no_grad()
    def features() -> torch.Tensor:
        found = method.eval().encode(images.flatten(0, 1)).features.unflatten(0, (8, 64))
        method.train()
        return found

    before = linear_r2(features(), poses, seen)
    learnt = [p for p in method.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learnt, lr=3e-3, weight_decay=1e-3)
    losses = []
    for step in range(steps):
        views = torch.rand(len(objects), seen).argsort(1)[:, : method.num_views]
        drawn = ViewBatch(
            images[objects[:, None], views],
            {"rotation": poses[objects[:, None], views]},
            {"rotation": SO3()},
            objects,
            objects,
        )
        loss = method.total(method.terms(method.encode_views(drawn.images), drawn))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        method.target.update(method.backbone, step, steps)
        losses.append(loss.item())
    assert sum(losses[-20:]) < 0.5 * sum(losses[:20])
    made = features()
    # three seeds rose from about 0 by 0.04 to 0.09
    assert linear_r2(made, poses, seen) > before + 0.02
    flat = torch.nn.functional.normalize(made.flatten(0, 1), dim=1)
    assert flat.std(dim=0).mean() > 0.1 / method.dim**0.5  # a collapse has neither spread nor rank
    share = torch.linalg.svdvals(flat - flat.mean(0))
    share = share / share.sum()
    assert torch.exp(-(share * share.clamp_min(1e-12).log()).sum()) > 10
