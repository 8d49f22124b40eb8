"""prototxt as text: templates, parsing, and where each field stands."""
