"""The command-line door: parses, calls steps, prints.  It computes nothing."""

from sepnet.cli import inspect_command  # isort: skip  (the order of the imports is the order in --help)
from sepnet.cli import network_commands  # isort: skip
from sepnet.cli import pack_command  # isort: skip
from sepnet.cli import file_commands  # isort: skip
from sepnet.cli import export_command  # isort: skip
from sepnet.cli import bench_command
from sepnet.cli.app import app, main

__all__ = [
    "app",
    "bench_command",
    "export_command",
    "file_commands",
    "inspect_command",
    "main",
    "network_commands",
    "pack_command",
]
