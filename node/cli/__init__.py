"""The command line: one file per command group; thin: parse, call the API, print."""
