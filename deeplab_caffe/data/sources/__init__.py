"""The sources of Caffe's data layers: order, reading ahead, cropping and mirroring, random numbers."""
