"""Files below all formats: written whole or not at all, and read in a child where a library cannot be trusted."""
