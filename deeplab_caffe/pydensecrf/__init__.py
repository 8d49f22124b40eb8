"""A drop-in for pydensecrf: the same classes and functions on this package's dense CRF.

    import deeplab_caffe.pydensecrf.densecrf as dcrf
    import deeplab_caffe.pydensecrf.utils as utils

See docs/crf.md for what its parameters are in DeepLab's terms.
"""
