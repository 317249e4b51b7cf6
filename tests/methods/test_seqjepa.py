from __future__ import annotations

import pytest
import torch

from ssl_equiv.backbones import BackboneConfig
from ssl_equiv.data.views import ViewBatch
from ssl_equiv.errors import UserError
from ssl_equiv.groups import SO3, HueDifference
from ssl_equiv.methods import SeqJEPA


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
