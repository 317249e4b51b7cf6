"""What watches a training run without touching it."""

from ssl_equiv.callbacks.best import Best
from ssl_equiv.callbacks.checkpoints import SaveCheckpoints
from ssl_equiv.callbacks.health import WatchHealth
from ssl_equiv.callbacks.online_probe import OnlineProbe
from ssl_equiv.callbacks.progress import StepProgress

__all__ = ["Best", "OnlineProbe", "SaveCheckpoints", "StepProgress", "WatchHealth"]
