"""``python -m rx_collector``: the same as the command ``rx-collector``."""

from rx_collector.cli import main

if __name__ == "__main__":
    main()
