"""Search of the dense CRF's parameters on validation images, coarse to fine (ICLR 2015, section 4.1)."""

__all__ = ["grid", "inference", "plot", "results", "samples", "search"]
