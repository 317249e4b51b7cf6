"""Multi-view data: records, readers and the Lightning data module."""
