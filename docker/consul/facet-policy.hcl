# What the token of a cluster's processes needs in a Consul whose ACLs deny by default, and no
# more. With another prefix in the registry's URL, write that in the place of "facet".

# Register instances, and see those of the others.
service_prefix "facet-" {
  policy = "write"
}

# Configuration, and the locks of elections.
key_prefix "facet/" {
  policy = "write"
}

# Elections: the lock of a leader lives as long as its session.
session_prefix "" {
  policy = "write"
}

# Instances are registered on nodes.
node_prefix "" {
  policy = "read"
}

# Not here: what leaves is taken out of the catalog by the agent itself, by its own token
# (acl.tokens.agent in its configuration), which needs node "write" for the agent's node.
