"""Forms as browsers send them."""

import html
import re


def form_fields(page: str, mark: str = "data-keyed") -> dict[str, str]:
    """What a browser sends when the form with this mark is sent as it is: text, what is chosen, and what is hidden."""
    form = page[page.index(f" {mark}") :].partition("</form>")[0]
    found = {}
    for tag in re.findall(r"<input[^>]*>", form):
        if re.search('type="(text|hidden)"', tag) and " disabled" not in tag and "value=" in tag:
            found[re.search(r'name="([\w.]+)"', tag)[1]] = html.unescape(re.search(r'value="([^"]*)"', tag)[1])
    for name, inside in re.findall(r'<select[^>]* name="([\w.]+)"[^>]*>(.*?)</select>', form, re.DOTALL):
        options = re.findall(r"<option([^>]*)>([^<]*)", inside)
        chosen = next((one for one in options if " selected" in one[0]), options[0])
        value = re.search(r'value="([^"]*)"', chosen[0])
        found[name] = html.unescape(value[1] if value else chosen[1])
    for name, inside in re.findall(r'<textarea[^>]* name="([\w.]+)"[^>]*>(.*?)</textarea>', form, re.DOTALL):
        # a browser drops the first line break of the element, and sends the others as CR LF
        found[name] = html.unescape(inside.removeprefix("\n")).replace("\n", "\r\n")
    return found
