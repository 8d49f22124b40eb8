"""Search of the dense CRF's parameters on validation images, coarse to fine (ICLR 2015, section 4.1)."""
