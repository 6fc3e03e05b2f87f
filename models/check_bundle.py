"""Child process of `models.bundle.check_bundle`: `python -m models.check_bundle FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

from features.errors import InputError
from models.bundle import rescore_golden


def main(folder: Path) -> int:
    """Return 0 when the golden rows come out as expected, else 2 with a message on stderr."""
    try:
        rescore_golden(folder)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
