"""Weak supervision: label maps from bounding boxes (ICCV 2015)."""

__all__ = ["boxes"]
