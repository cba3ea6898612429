"""The `tubedet` program; also `python -m tubedet`."""


def main() -> None:
    """Heed signals before anything that takes long, such as importing, and run."""
    from tubedet.cli.signals import exit_code_of_signal, heed_signals, ignore_signals

    heed_signals()
    try:
        from tubedet.cli.app import main as run

        run()
    except KeyboardInterrupt:  # before there was anything to end in order
        ignore_signals()
        raise SystemExit(exit_code_of_signal()) from None


if __name__ == "__main__":
    main()
