"""Instances that run on this machine, on images of its own, for a region's data plane."""
