"""Taking in models that were trained elsewhere, each kind of file by a module of its own.

`kinds` tells what a file is; `keras_files`, `saved_models` and `tflite_files` each make a `source`
of it; `assumptions` works out how it wants its pictures. A stranger's file is never trusted: Keras
loads in safe mode, a SavedModel's ops are looked at before it is loaded, and LiteRT meets a
.tflite file in a process of its own (`tflite_work`).

`keras_files` and `saved_models` import TensorFlow when they are imported.
"""
