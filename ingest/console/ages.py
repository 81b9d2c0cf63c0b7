"""How old something is, in words that are as exact as what is known of it. Pure."""

MINUTE_S = 60
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


def age_in_words(age_s: float) -> str:
    """The two largest units: `2 h 5 min`."""
    left, words = int(age_s), []
    for size_s, unit in _UNITS:
        if left >= size_s:
            words.append(f"{left // size_s} {unit}")
            left %= size_s
    return " ".join(words[:2]) or "under a minute"


def age_of_minute(minute: int | None, wall_s: float) -> str:
    """Of something that happened within a minute since 1970; nothing where it is not known."""
    return "" if minute is None else age_in_words(wall_s - (minute + 1) * MINUTE_S)
