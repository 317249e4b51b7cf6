"""The encoder of sweeps that a user names."""

from __future__ import annotations

from pathlib import Path

import torch

from ssl_equiv.backbones.lidar import LidarEncoder, create_encoder, encoder_config
from ssl_equiv.checkpoint import PretrainedEncoder, is_of_sweeps
from ssl_equiv.export.openpcdet import open_openpcdet

_RANDOM, _EXPORTED = "random:", ".safetensors"


def sees_sweeps(source: str) -> bool:
    """Whether a user names an encoder of LiDAR sweeps rather than a network on images.

    Args:
        source: Anything that ``ssl-equiv eval --model`` takes; what is not there is said elsewhere.
    """
    if source.endswith(_EXPORTED) and Path(source).is_file():
        return True
    return is_of_sweeps(source.removeprefix(_RANDOM))


def open_encoder(source: str, seed: int = 0) -> LidarEncoder:
    """The encoder that a user names, in evaluation mode.

    Args:
        source: A run directory of a method on sweeps, a ``.ckpt`` file of one, ``random:RUN`` for
            its encoder at random, or a ``.safetensors`` file of ``export_openpcdet``.
        seed: Seed of random weights.

    Raises:
        UserError: nothing of these is there, or its weights do not fit.
    """
    if source.endswith(_EXPORTED):
        return open_openpcdet(source)
    found = PretrainedEncoder(source.removeprefix(_RANDOM))
    if not source.startswith(_RANDOM):
        return found.encoder
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return create_encoder(encoder_config(found.description["init_args"]["backbone"])).eval()
