"""What a process does around every call that it serves: who may call, what is counted and told."""

from typing import TYPE_CHECKING

import grpc

if TYPE_CHECKING:
    from services.common.http2.server_call import ServerCall


class Interceptor:
    """Base of what looks at calls; a server asks them in their order, on the event loop.

    None of these may wait, and each is paid for by every call.
    """

    def admit(self, call: "ServerCall") -> None:
        """The headers of a call of a known method are here, and nothing of its request.

        Raise AbortedError to end it: its request is not read.
        """

    def began(self, call: "ServerCall") -> None:
        """The handler is about to run, in this task: it sees what is put into context variables."""

    def ended(self, call: "ServerCall", code: grpc.StatusCode) -> None:
        """The call has ended, also one that was refused or never came to its handler; once."""
