"""`python -m rra_state CONFIG ...`."""

from rra_state.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
