"""`python -m tests.fuzz`, in the folder of the repository."""

import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "support")]

from fuzz.command import main  # noqa: E402 -- found through the line above

if __name__ == "__main__":
    sys.exit(main())
