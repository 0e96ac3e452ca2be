"""A cluster over several hosts of one machine, and what happens when their network fails.

network   hosts as namespaces, joined by a switch; what can be done to their links
wire      a stretch of a link that takes its time and loses packets
consul    a server, and an agent on each host
cluster   the services on these hosts
faults    what befalls them
figures   what a load says of a fault
__main__  the benchmark
"""
