"""``python -m scorefield`` is the command ``scorefield``."""

from scorefield.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
