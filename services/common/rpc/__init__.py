"""gRPC between Facet's processes: channels, streams of calls, fleets of links, the leader."""
