"""The first screen: ask, watch the answer come, stop it, find what was asked before."""
