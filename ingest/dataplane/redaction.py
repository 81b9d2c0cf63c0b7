"""Masks: what in a text looks like a secret or like personal data is replaced by what it was.

Data plane; pure, any thread. Best effort over text that is often JSON, escaped or cut anywhere: rather too much is
masked than too little. Every pattern is linear in the text, for the text is whatever somebody sends.
"""

import re
from collections.abc import Callable

_NAMES = (
    r"pass(?:word|wd|phrase|code)|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|authorization|credential"
    r"|cookie|session[_-]?id|(?<![a-z])(?:pwd|pass|pin|otp|cvv|cvc|ssn|auth)(?![a-z])"
)
# What follows a name: `":`, `=`, `\":` ... each perhaps inside of a JSON text, where quotes are escaped.
_NAMED = rf"(?P<name>(?:{_NAMES})[\w.-]{{0,32}}+[\"'\\]{{0,4}}+\s{{0,8}}+[:=]\s{{0,8}}+"
_QUOTED = re.compile(rf"{_NAMED}(?P<quote>\\{{0,3}}+[\"']))(?:(?!(?P=quote))(?:\\.|.))*+", re.IGNORECASE | re.DOTALL)
_SCHEME = r"(?:(?:basic|bearer|digest|token)\s{1,4}+)?"
_BARE = re.compile(rf"{_NAMED}){_SCHEME}(?!\[secret)[^\s\"'\\,;&<>{{}}()]++", re.IGNORECASE)
_OUR_KEY = re.compile(r"(?<![A-Za-z0-9])fb_[a-z0-9]{8}_[A-Za-z0-9_-]++")
_WORD = r"[^\s@\"'<>\\,;:()\[\]{}=|/]"


def _luhn(match: re.Match[str]) -> str:
    """ISO/IEC 7812-1, annex B."""
    digits = [int(digit) for digit in match[0] if digit.isdigit()]
    doubled = [digit * 2 - 9 * (digit > 4) for digit in digits[-2::-2]]
    return match[0] if (sum(digits[-1::-2]) + sum(doubled)) % 10 else "[card]"


def _iban(match: re.Match[str]) -> str:
    """ISO 13616-1, 5.2: letters count from 10, the first four characters go last, and 1 is left of a division by 97."""
    text = match[0].replace(" ", "")
    return "[iban]" if int("".join(str(int(c, 36)) for c in text[4:] + text[:4])) % 97 == 1 else match[0]


_MASKS: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    (
        re.compile(
            r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,30}PRIVATE KEY-----|\Z)", re.DOTALL
        ),
        "[private key]",
    ),
    (_QUOTED, r"\g<name>[secret]"),
    (_BARE, r"\g<name>[secret]"),
    (_OUR_KEY, "[key]"),
    (re.compile(r"(?<![A-Za-z0-9])eyJ[A-Za-z0-9_-]{8,}+(?:\.[A-Za-z0-9_-]*+){0,4}"), "[token]"),
    (re.compile(r"(?<![A-Za-z])(bearer)\s{1,4}+[A-Za-z0-9._~+/=-]{8,}+", re.IGNORECASE), r"\1 [token]"),
    (
        re.compile(
            r"(?<![A-Za-z0-9])(?:(?:AKIA|ASIA)[0-9A-Z]{16}|gh[opsru]_[A-Za-z0-9]{20,}+|github_pat_\w{20,}+"
            r"|glpat-[\w-]{16,}+|xox[a-z]-[A-Za-z0-9-]{10,}+|[sr]k_(?:live|test)_[A-Za-z0-9]{10,}+|sk-[\w-]{20,}+"
            r"|AIza[\w-]{30,}+)"
        ),
        "[key]",
    ),
    (re.compile(r"(?<=://)[^\s/@\"'\\]{1,512}+@"), "[credentials]@"),
    (re.compile(rf"(?<!{_WORD}){_WORD}++@[\w-]++(?:\.[\w-]++)++"), "[email]"),
    (re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![A-Za-z0-9])"), _iban),
    (re.compile(r"(?<!\d)[2-6]\d{3}([ -]?)\d{4}\1\d{4}\1\d{1,7}(?!\d)"), _luhn),
    (re.compile(r"(?<!\d)3[47]\d{2}([ -]?)\d{6}\1\d{5}(?!\d)"), _luhn),
)


def redact(text: str) -> str:
    """The text with e-mail addresses, keys, tokens, passwords, card and bank account numbers masked."""
    for pattern, mask in _MASKS:
        text = pattern.sub(mask, text)
    return text


def mask_our_keys(text: str) -> str:
    """The text with Forebay's own API keys masked, also those that are not whole; all else as it is."""
    return _OUR_KEY.sub("[key]", text)
