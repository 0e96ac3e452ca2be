"""Models as files: what a version is, where it lies, how it is written whole or not at all."""
