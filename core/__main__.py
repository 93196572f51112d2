"""``python -m trainbus`` is the command ``trainbus``."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
