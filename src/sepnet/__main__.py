"""`sepnet` and `python -m sepnet`.  It imports next to nothing, so that Ctrl-C finds it ready."""

import sys


def main() -> None:
    """Run the command line; Ctrl-C while it is still being imported ends it as quietly as later."""
    try:
        from sepnet.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
