"""Texts that somebody could try in any variable: what ends a line, hides, quotes, expands, comments or is too long."""

from hypothesis import strategies as st

SECRET = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ"  # what must never be seen of it
PRIVATE_KEY = f"-----BEGIN OPENSSH PRIVATE KEY-----\n{SECRET}\n-----END OPENSSH PRIVATE KEY-----"

# Each by itself, and in the midst of something sound.
MARKS = [
    "\n", "\r", "\r\n", "\0", "\t", "\x0b", "\x0c", "\x1b[2J", "\x7f", "\x85", "\u2028", "\u202e", "\u200b", "\ufeff",
    "\u00a0", "'", '"', "`", "%", "%s", "%(x)s", "%[env(HOME)]", "#", ";", "\\", "\\\n", "$", "$(id)", "${HOME}",
    "{{ x }}", "{%", "{#", "\ud800", "\udfff", "é", "ß", "\u0661", "🙂",
    "%1]:80 init-addr none\nfrontend f\n    bind :25\n#",
    "\n    default_backend smtp_relay", "\nMatch all\nPasswordAuthentication yes", "\nExecStart=/bin/sh", "<HOST>",
    "../", "/", " ", "  ", "[", "]", "|", "&", "-", "--", ",", "::", "*", "@", ":", "x" * 100_000,
]  # fmt: skip


def texts(*seeds: str) -> st.SearchStrategy[str]:
    """Sound texts of the kind, with something hostile before, behind or within; and anything at all."""
    mark = st.sampled_from(MARKS)
    seed = st.sampled_from(seeds or ("x",))

    def within(text: str, mark: str, place: float) -> str:
        at = int(place * (len(text) + 1))
        return f"{text[:at]}{mark}{text[at:]}"

    return st.one_of(
        st.sampled_from([*seeds, *MARKS, PRIVATE_KEY, ""]),
        st.builds(within, seed, mark, st.floats(0, 1)),
        st.builds(lambda one, mark, other: one + mark + other, seed, mark, seed),
        st.text(max_size=40),
        st.text(st.characters(min_codepoint=0, max_codepoint=0xFF), max_size=40),
        st.text(st.characters(categories=["Cs", "Cf", "Cc", "Zl", "Zp"]), max_size=8),
    )
