"""python -m export.client --server=HOST:PORT [--verify --model=FILE.keras]: see `export.client.command`."""

import sys

from export.client.command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
