"""The number of axes of blobs in files, and their largest size."""

# The axes of DeepLab v1's blobs, and of all files of its time: num, channels, height, width.
OLD_AXES = 4
# Caffe's kMaxBlobAxes.
MAX_AXES = 32
# Each dimension is an int32.
MAX_DIM = 2**31 - 1
