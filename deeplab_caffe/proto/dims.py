"""How many axes a blob has in files, and how long they may be."""

# Those of DeepLab v1's blobs, and of all files of its time: num, channels, height, width.
OLD_AXES = 4
# Caffe's kMaxBlobAxes.
MAX_AXES = 32
# An int32 holds each.
MAX_DIM = 2**31 - 1
