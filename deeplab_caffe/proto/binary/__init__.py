"""Caffe's binary files: caffemodel, solverstate and binaryproto, read without copies and written atomically."""
