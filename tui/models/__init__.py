"""The second screen: which models there are, and getting, loading and removing them."""
