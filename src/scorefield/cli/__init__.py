"""The command line: one short module a command, over the public API only."""
