"""Data-parallel training on many processes, of one machine or of many.

    worker      a service that runs one member at a time: `facet train-worker`
    member      one process of one training: a copy of the network, and tf.distribute
    messages    what a member tells, as messages and back
    seats       workers that were found in the registry and reserved
    attempt     one try: all members, from their start until one of them fails or all have finished
    coordinator tries again from the last checkpoint, and measures checkpoints beside the training

Workers of the same machine are found, reserved and told like any others: there is one way.
"""
