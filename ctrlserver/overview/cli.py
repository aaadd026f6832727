"""The program ``ctrlstat``."""

from ctrlserver.console.program import run_program


def main() -> None:
    """Carry out the command line of this process."""
    run_program("ctrlserver.overview.command")


if __name__ == "__main__":
    main()
