"""What is left of a batch, also of one that should be finished already."""


def remaining_s(now: float, started: float, predicted_end: float) -> float:
    """Return the seconds that a running batch is likely to need still.

    Past its predicted end a batch has as much to go as it is late, up to half of the time that
    it has run: noise of a millisecond stays a millisecond, and a shard that hangs looks the
    worse the longer it does.
    """
    if now <= predicted_end:
        return predicted_end - now
    return min(now - predicted_end, (now - started) / 2)
