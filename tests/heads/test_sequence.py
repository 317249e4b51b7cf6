from __future__ import annotations

import re
from typing import Any

import pytest
import torch

from ssl_equiv.errors import UserError
from ssl_equiv.heads import SequenceHead


def head() -> SequenceHead:
    torch.manual_seed(0)
    made = SequenceHead(12, action_dim=4, action_width=8, layers=2, predictor_width=16)
    made.train()
    for _ in range(3):  # running statistics that are not the defaults
        made(torch.randn(9, 3, 12), 1 + torch.randn(9, 3, 4))
    return made.eval()


def test_one_head_takes_any_length() -> None:
    sequence = head()
    for length in (1, 2, 7):
        aggregate = sequence.aggregate(torch.randn(5, length, 12), torch.randn(5, length - 1, 4))
        assert aggregate.shape == (5, sequence.aggregate_dim) == (5, 20)
        assert sequence.predict(aggregate, torch.randn(5, 4)).shape == (5, 12)


def test_the_upcoming_action_does_not_reach_the_aggregate() -> None:
    sequence, features = head(), torch.randn(5, 3, 12)
    actions = torch.randn(5, 3, 4)
    with_it = sequence.aggregate(features, actions)
    torch.testing.assert_close(with_it, sequence.aggregate(features, actions[:, :2]))
    other = actions.clone()
    other[:, 1] += 1  # between the second and the third view
    assert not torch.allclose(with_it, sequence.aggregate(features, other), atol=1e-3)
    predicted = sequence(features, actions)
    actions[:, 2] += 1
    assert not torch.allclose(predicted, sequence(features, actions), atol=1e-3)


def test_actions_alone_tell_the_order() -> None:
    # tokens without a position code are a set: exchanging two observations together with their
    # actions changes nothing as long as the last stays the last
    sequence, features, actions = head(), torch.randn(5, 4, 12), torch.randn(5, 3, 4)
    order = [2, 0, 1]
    torch.testing.assert_close(
        sequence.aggregate(features, actions),
        sequence.aggregate(features[:, [*order, 3]], actions[:, order]),
    )


def test_the_action_norm_sees_all_actions_at_once() -> None:
    sequence = head().train()
    embedded = sequence.embed(torch.randn(6, 3, 4)).flatten(0, 1)
    torch.testing.assert_close(embedded.mean(dim=0), torch.zeros(8), atol=1e-5, rtol=0)
    torch.testing.assert_close(embedded.var(dim=0, correction=0), torch.ones(8), atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": 0}, "model.layers is 0: choose 1 or more"),
        ({"heads": 0}, "model.heads is 0: choose 1 or more"),
        ({"action_dim": 0}, "model.action_dim is 0: choose 1 or more"),
        ({"dropout": 2.0}, "model.dropout is 2.0: choose 0 or more and less than 1"),
        ({"dropout": -0.1}, "model.dropout is -0.1: choose 0 or more"),
    ],
)
def test_arguments_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        SequenceHead(12, **{"action_width": 8, **options})


def test_bad_input() -> None:
    with pytest.raises(UserError, match="heads is 3, which does not divide a token's 20 columns"):
        SequenceHead(12, action_width=8, heads=3)
    for length, actions in ((0, 0), (3, 1), (1, 2)):
        with pytest.raises(UserError, match=f"{length} observations with {actions} actions"):
            head().aggregate(torch.randn(5, length, 12), torch.randn(5, actions, 4))
