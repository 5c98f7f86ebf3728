"""The HTTP API as its clients see it: types, requests and event streams, without any I/O."""
