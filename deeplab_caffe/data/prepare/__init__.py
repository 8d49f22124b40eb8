"""A data set's folders brought to DeepLab's lists: pairs found, labels checked, counted and, where need be, written."""
