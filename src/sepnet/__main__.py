"""`python -m sepnet`."""

from sepnet.cli import main

main()
