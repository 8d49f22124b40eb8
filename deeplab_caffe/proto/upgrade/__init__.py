"""Conversion of older layouts to the inner form, and of the inner form to the dialect of a file."""
