"""Older layouts brought up to the inner form, and the inner form brought down to what a file's dialect holds."""
