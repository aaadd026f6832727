"""``python -m ctrlserver.overview`` is ``ctrlstat``."""

from ctrlserver.overview.cli import main

if __name__ == "__main__":
    main()
