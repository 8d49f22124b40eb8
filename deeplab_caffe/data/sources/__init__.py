"""The sources of Caffe's data layers: what comes next, reading ahead, cropping and mirroring, random numbers."""
