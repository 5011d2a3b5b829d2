"""Where independent pieces of work are done: in this process, or on the nodes of a cluster."""
