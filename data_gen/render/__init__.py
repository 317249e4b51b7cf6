"""The renderer of the 3DIEBench scene on Embree."""

from data_gen.render.embree import EmbreeRenderer, PreparedMesh, Quality

__all__ = ["EmbreeRenderer", "PreparedMesh", "Quality"]
