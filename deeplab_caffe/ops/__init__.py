"""DeepLab's operations on arrays of torch, CuPy and NumPy, each defined once.

A tensor's operation is a torch custom operator: it traces, compiles and exports, and has a gradient where one makes
sense. Importing a module here after torch registers its operators as ``torch.ops.deeplab_caffe.<name>``; a module that
was imported before torch registers them when its first tensor comes.
"""
