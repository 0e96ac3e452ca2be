"""One module a format: it reads the header by hand and drops what the pixels don't depend on."""
