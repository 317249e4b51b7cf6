"""Self-supervised vision backbones, equivariant where it matters and invariant where it helps."""

__version__ = "0.1.0.dev0"
