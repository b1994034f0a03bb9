"""Episodes on disk as LeRobotDataset v3.0, and the memory-mapped cache that training reads."""
