"""Weak supervision: label maps from bounding boxes (ICCV 2015)."""
