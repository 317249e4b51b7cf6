"""Feature extraction, probes and regressors on frozen backbones."""
