"""The terminal interface: a client of the node's HTTP API, and of nothing else."""
