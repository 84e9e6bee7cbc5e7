"""The command-line door: parses, calls steps, prints.  It computes nothing."""

from sepnet.cli.commands import main

__all__ = ["main"]
