"""What a training keeps while it goes on, so that it can go on after anything that stops it.

    <repository>/<model>/training/lock                who trains the model now
    <repository>/<model>/training/<job>/job.json      what is trained, and how
                                       /images.npy    the training pictures, uint8 [n, h, w, c]
                                       /labels.npy    int64 [n]
                                       /checkpoint-<epoch>-<step>.npz

Everything goes through fsspec, so that the repository may be anywhere. A training's pictures lie
beside it: its workers need no other source, and a resumed one learns what it began with.
"""
