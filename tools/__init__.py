"""Scripts for the maintenance of the repository."""
