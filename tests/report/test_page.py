"""The report page stands alone and escapes what it is given."""

from __future__ import annotations

import re

from matplotlib.figure import Figure

from ergodica.report.page import Section, render_page


def test_page_is_self_contained_and_escaped():
    figure = Figure(figsize=(1, 1))
    section = Section("a < b", "x & y", {"k": "<v>"}, [figure], "run 'this'")
    page = render_page("T & t", [section]).decode()
    assert "a &lt; b" in page and "x &amp; y" in page and "&lt;v&gt;" in page
    assert "data:image/png;base64," in page
    assert not re.search(r"(src|href)=['\"]https?:", page)
