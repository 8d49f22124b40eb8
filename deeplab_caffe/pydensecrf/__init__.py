"""A drop-in for pydensecrf: the same classes and functions on this package's dense CRF.

    import deeplab_caffe.pydensecrf.densecrf as dcrf
    import deeplab_caffe.pydensecrf.utils as utils

docs/crf.md lists its parameters in DeepLab's terms.
"""

__all__ = ["densecrf", "eigen", "utils"]
