"""Prepare a data set for DeepLab: find pairs, check and count labels, rewrite them if necessary, and write lists."""
