"""Text that is code in some format. What is in ``TEXTS`` may be a label; names of files may hold what is in ``CONTROLS`` too."""

from __future__ import annotations

_RUN = "window.hacked=1"

TEXTS = (
    # HTML, SVG and scripts
    f"<script>{_RUN}</script>", f'"><img src=x onerror={_RUN}>', f"'><svg/onload={_RUN}>",
    f"</script></title></style><script>{_RUN}</script>",
    f"<a href=javascript:{_RUN}>a</a>", f"javascript:{_RUN}", f"<iframe srcdoc='<script>{_RUN}</script>'>", "<b>bold</b>",
    "&lt;b&gt;", "&amp;", "&#60;b&#62;", "<!-- comment -->", "<!-- end of what astune wrote -->", "]]>", "a<b>c",
    # templates and format strings
    "{{7*7}}", "{% raw %}${7*7}#{7*7}", "{0.__class__}", "%s %(x)s %n", "\\x41\\u0041\\n",
    # LaTeX and mathtext
    "$x^2$", "$\\frac{$", "\\$", "$$", "\\alpha_i^2", "\\input{/etc/passwd}", "\\write18{touch hacked}", "\\end{tabular}\\end{document}",
    "^^5cinput{/etc/passwd}", "% & # _ { } ~ ^ \\", "[2em] x", "*x", "-- --- ,, << >> ?` !`",
    # Markdown
    "[a](http://evil.example)", "![a](http://evil.example/x.png)", "<http://evil.example>", "http://evil.example/x", "www.evil.example",
    "[a]: http://evil.example", "a|b|c", "\\|", "`code`", "```", "``a`", "# heading #", "## ##", "- list", "+ list", "1. list", "1) list",
    "> quote", "---", "===", "***", "_a_ __b__ *c* **d**", "~~e~~", "[ ] task", "[a][b]", "\\", "x\\|y", "snake_case_name", "e\\",
    # rich
    "[red]a[/red]", "[link=http://evil.example]a[/link]", "[/]", "[bold", ":dog:", "@here", "#1",
    # spreadsheets and CSV
    "=1+1", '=HYPERLINK("http://evil.example";"a")', "=cmd|' /C calc'!A0", "+1+1", "-1+1", "@SUM(1)", "a,b", 'a"b', '"', "'a'",
    "a;b", "sep=;",
    # YAML and JSON
    "a: b", "!!python/object:os.system", "*alias", "&anchor", "{a: b}", "yes", "null", "1e3", "0o17", "~", '{"a": 1}', "a #b", "%YAML 1.1",
    # shells
    "$(touch hacked)", "`touch hacked`", "; touch hacked", "a && touch hacked", "a{b,c}d", "~/x", "=ls", "^[a-z]+", "!!", "it's", "$HOME",
    "*", "?", "a b", "-rf", "--help", "\\'",
    # letters of everybody
    "狗", "🐶", "é", "naïve café", "a–b", "é\u00a0x",
)  # fmt: skip

CONTROLS = (
    # colour, links and clipboard of terminals, in seven and in eight bits
    "a\x1b[31mred", "a\x1b]8;;http:evil.example\x07b\x1b]8;;\x07", "a\x1b]52;c;aGFja2Vk\x07", "a\x9b31mred",
    "a\x9d52;c;aGFja2Vk\x9c", "a\x1bcb",
    # lines of others
    "a\nerror: forged", "a\rerror: forged", "a\x85error: forged", "a\u2028error: forged", "a\u2029b", "a\x0bb", "a\x0cb", "a\tb",
    # rubbed out, and turned round
    "a\x08\x08b", "a\x7fb", "a\u202ebwa.exe", "a\u2066b", "a\u200fb",
    # bytes that are not UTF-8
    "M\udce9sange",
)  # fmt: skip
"""Each stands in the name of a file at least; labels that hold one are refused."""


def file_name(text: str) -> str:
    """A text as a name that a file can have."""
    return text.replace("/", "∕")


TEXT_NAMES = tuple(dict.fromkeys(map(file_name, TEXTS)))
NAMES = (*TEXT_NAMES, *CONTROLS)
