"""``python -m ctrlserver.load`` is ``ctrlload``."""

from ctrlserver.load.cli import main

if __name__ == "__main__":
    main()
