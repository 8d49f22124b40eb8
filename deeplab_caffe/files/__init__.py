"""File access for all formats: atomic writing, and reading in a child process if a library may crash."""
