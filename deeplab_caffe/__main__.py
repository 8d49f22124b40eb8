"""``python -m deeplab_caffe`` is the command ``deeplab-caffe``."""

from deeplab_caffe.cli import main

main()
