"""prototxt as text: templates, parsing, and the line of each field."""
