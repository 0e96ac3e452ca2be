"""What a credential is good for."""

from enum import StrEnum


class Scope(StrEnum):
    """Named in API keys, and in the claim `scope` of tokens."""

    RECOGNISE = "recognise"
    """Have pictures recognised, and see which models there are."""
    ADMIN = "admin"
    """See the cluster: its processes, their addresses and load."""
