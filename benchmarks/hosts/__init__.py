"""A cluster over several hosts of one machine, and what happens when their network fails.

    network   hosts as namespaces, joined by a switch; what can be done to their links
    wire      a stretch of a link that takes its time and loses packets
    cluster   Consul and the services on these hosts
    figures   what a load says of a fault
    __main__  the benchmark
"""
