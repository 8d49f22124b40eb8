"""The domain transform with an edge net: LargeFOV's scores, filtered up to the edges that VGG's own features give."""

from __future__ import annotations

from tools.networks.layers import (
    OLD,
    data,
    interp,
    loss,
    mat_write,
    new_convolution,
    relu,
    scores,
    silence,
)
from tools.networks.text import Net, folder, solvers, variables
from tools.networks.vgg import STEPS, fc6_fc7, pool, trunk

NAME = "deeplab_dt_edgenet"
WHAT = """
DeepLab-LargeFOV with the domain transform in place of the dense CRF (Chen et al., CVPR 2016): the scores of each pixel
are smoothed along rows and columns, and not across edges. The edge map is one channel, made by a 1x1 convolution and
a ReLU of VGG's own features; it learns from the labels of the pixels alone. 20,505,878 parameters with 21 classes.
Inputs have sides 8 * k + 1.
"""
SOURCE = """
Reconstructed: no file of the authors was found, and the paper's text was not at hand. From its abstract: the network
as a whole, and that it has no labels of edges. Not settled: which features the edge map is made of (here conv1_2,
conv2_2 and conv3_3, 448 channels; it may be conv2_2, conv3_3 and conv4_3); the names of the edge net; the values of
spatial_sigma and range_sigma.
"""
TRAIN = """
Two rounds: train LargeFOV first (deeplab_largefov or deeplab_largefov_vgg16_v2, whose layers have these names), then
this from its weights, all together; the edge net begins with gaussian weights and ten times the rate. The loss is at
full size, on labels that are not shrunk. spatial_sigma 100 and range_sigma 1 are those of a public re-implementation.
"""
TEST = """
spatial_sigma and range_sigma are those of train.prototxt. After training, search them on validation images.
"""
DEPLOY = """
DomainTransform without a third bottom filters the whole image, padding included.
"""


def edge_map(net: Net) -> str:
    """Write the edge net: features at the image's size, one convolution and a ReLU; return the map."""
    net.comment("The edges.")
    features = (
        "conv1_2",
        interp(net, "conv2_2_interp", "conv2_2", zoom_factor=2),
        interp(net, "conv3_3_interp", "conv3_3", zoom_factor=4),
    )
    blob = net.layer("Concat", "edge_concat", features, concat_param={"axis": 1})
    return relu(net, "edge_relu", new_convolution(net, "edge", blob, num_output=1, kernel_size=1))


def network(kind: str, head: str) -> str:
    """Return the text of a net."""
    net = Net(kind, NAME, WHAT, SOURCE, head, variables(kind, "fc8_dt"))
    data(
        net,
        crop=321 if net.training else 513,
        batch=10 if net.training else 1,
        label_type="PIXEL" if net.training else "NONE",
    )
    net.comment("LargeFOV.")
    rates = OLD if net.training else ()
    pool5a = pool(net, "pool5a", trunk(net, "data", rates=rates), 1, "AVE")
    fc8 = scores(net, f"fc8_{net.exp}", fc6_fc7(net, pool5a, 12, rates=rates), kernel_size=1)
    pixels = interp(net, "fc8_interp", fc8, zoom_factor=8)
    bottoms = (pixels, edge_map(net), *(() if kind == "deploy" else ("data_dim",)))
    param = {"num_iter": 3, "spatial_sigma": 100, "range_sigma": 1}
    net.comment("The domain transform.")
    filtered = net.layer("DomainTransform", "fc8_dt", bottoms, domain_transform_param=param)
    if net.training:
        loss(net, filtered, "label")
    if kind == "test":
        mat_write(net, "fc8_mat", filtered, "fc8")
        silence(net, "label")
    return str(net)


def files() -> dict[str, str]:
    """Return the texts by path."""
    source = "not known; these are LargeFOV's as released with DeepLab v1, with 30 images an update in batches of 10"
    texts = {"train": network("train", TRAIN), "test": network("test", TEST), "deploy": network("deploy", DEPLOY)}
    return folder(NAME, texts | solvers("Domain transform with an edge net", source, **STEPS))
