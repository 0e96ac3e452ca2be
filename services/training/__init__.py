"""Where model versions come from: training, and taking in models that were trained elsewhere.

Modules that import TensorFlow when they are imported: augmentation, evaluation, fusion, trainer,
those in networks, and in `intake` keras_files, saved_models and graph_safety. The others import
those when they need them, without its chatter.
"""
