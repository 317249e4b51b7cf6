"""The encoder of a pretrained run, to be built again."""

from __future__ import annotations

from torch import Tensor

from ssl_equiv.backbones.lidar import EncoderConfig, encoder_config
from ssl_equiv.checkpoint import PretrainedEncoder


def pretrained_encoder(source: str) -> tuple[EncoderConfig, dict[str, Tensor]]:
    """How the encoder of a run is built, and its weights.

    Args:
        source: A run directory of a method on sweeps, or a ``.ckpt`` file of one.

    Raises:
        UserError: there is no checkpoint, or it is of a method on images.
    """
    found = PretrainedEncoder(source)
    return encoder_config(found.description["init_args"]["backbone"]), found.encoder.state_dict()
