"""Numbers of the performance model as text: short, and of one width in a column."""

from typing import Final

BLOCKS: Final = " ▏▎▍▌▋▊▉█"
TRACK: Final = "░"


def rate(per_s: float) -> str:
    """Images a second: three digits count."""
    return f"{per_s:,.0f}" if per_s >= 100 else f"{per_s:.1f}" if per_s else "0"


def percent(share: float) -> str:
    """A share of 1."""
    return f"{100 * share:.0f} %"


def duration(microseconds: float) -> str:
    """A time with its unit; empty: not known."""
    if microseconds >= 1e6:
        return f"{microseconds / 1e6:.1f} s"
    if microseconds >= 10_000:
        return f"{microseconds / 1e3:.0f} ms"
    if microseconds >= 1_000:
        return f"{microseconds / 1e3:.1f} ms"
    return f"{microseconds:.0f} µs" if microseconds else ""


def ratio(value: float) -> str:
    """Predicted / real; empty where nothing ran."""
    return f"{value:.2f}" if value else ""


def bar(share: float, width: int) -> str:
    """A bar of so many columns that is full at 1."""
    eighths = round(min(max(share, 0.0), 1.0) * width * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (BLOCKS[rest] if rest else "")).ljust(width, TRACK)


def utilisation_style(share: float) -> str:
    """How a utilisation looks: red where more can only wait."""
    return "red" if share >= 0.9 else "yellow" if share >= 0.7 else "green"
