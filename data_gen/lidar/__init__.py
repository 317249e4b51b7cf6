"""A simulated LiDAR: street scenes in motion, cast ray by ray, written as KITTI writes them."""
