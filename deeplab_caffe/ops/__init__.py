"""DeepLab v1's operations as torch custom operators: importing a module here registers its operator."""
