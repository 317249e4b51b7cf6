"""LiDAR sweeps: readers of the public data sets' plain files, and the Lightning data module."""
