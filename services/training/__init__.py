"""Where model versions come from: training, and taking in models that were trained elsewhere.

Modules that import TensorFlow when they are imported: augmentation, conversion, evaluation,
fusion, keras_files, packaging, trainer and those in networks. The others import those when they
need them, without its chatter.
"""
