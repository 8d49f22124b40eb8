"""Run the dense CRF on the package's photograph through each interface: all must work in a wheel without torch."""

import numpy as np

import deeplab_caffe as dc
from deeplab_caffe.data import load_image
from deeplab_caffe.pydensecrf import densecrf, utils
from deeplab_caffe.zoo import DEMO_PHOTO

image = load_image(DEMO_PHOTO)
height, width = image.shape[:2]
inside = np.zeros((height, width), np.float32)
inside[height // 4 : -height // 4, width // 4 : -width // 4] = 2
scores = np.stack([1 - inside, inside])
params = dc.CRFParams.for_model("DeepLab-LargeFOV")
marginals = dc.dense_crf(scores, image, params)
assert marginals.shape == scores.shape
assert np.allclose(marginals.sum(0), 1, atol=1e-4)
assert 0 < (marginals.argmax(0) != scores.argmax(0)).mean() < 0.5, "the CRF moved no edge"
assert np.array_equal(dc.DenseCRF2D.for_image(image, params).infer(scores), marginals)
crf = densecrf.DenseCRF2D(width, height, 2)
crf.setUnaryEnergy(utils.unary_from_softmax(marginals))
crf.addPairwiseBilateral(sxy=50, srgb=10, rgbim=np.ascontiguousarray(image), compat=5)
assert np.isfinite(np.array(crf.inference(2))).all()
print(f"the dense CRF works: {(marginals.argmax(0) != scores.argmax(0)).mean():.1%} of the pixels changed")
