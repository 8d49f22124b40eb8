"""The prototxts of DeepLab v2 and of the networks after it, written from Python: see ``__main__``."""
