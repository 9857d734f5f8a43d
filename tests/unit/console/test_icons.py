"""Signs stand in the page itself."""

import re
from importlib import resources

from quickalign.console.icons import icons
from quickalign.console.rendering import environment


def test_each_sign_that_a_template_names_is_drawn():
    folder = resources.files("quickalign.console") / "templates"
    templates = [file for part in (folder, folder / "parts") for file in part.iterdir() if file.name.endswith(".html")]
    named = {name for file in templates for name in re.findall(r"icon\('(\w+)'\)", file.read_text("utf-8"))}
    assert len(named) > 10
    assert named <= set(icons())
    assert all(drawn.startswith(("<path ", "<circle ")) for drawn in icons().values())


def test_a_sign_is_drawn_without_another_request():
    shown = environment("en").from_string("{% import 'parts/ui.html' as ui %}{{ ui.icon('auto') }}").render()
    assert '<circle cx="12" cy="12" r="8"/><path d="M12 4v16"/>' in shown
    assert "href" not in shown
