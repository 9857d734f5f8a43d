"""Chat templates that only put texts between fixed marks: proved from their source, then filled in without Jinja.

Running a template costs more than everything else that happens to a short row but its tokenisation, and a row needs it
three times. Where the template provably does nothing with a message's text but write it, one rendering for each
sequence of roles says all: its marks, with the texts between them. All other templates are run for every row.
"""

from collections.abc import Callable, Sequence

import jinja2
from jinja2 import nodes
from jinja2.ext import loopcontrols

from quickalign.data.records import Message, Role

Render = Callable[[Sequence[Message]], str]

_CONTENT = "content"
_MESSAGES = "messages"
_LOOP = "loop"
_LOOP_FIELDS = {"first", "last", "index", "index0", "revindex", "revindex0", "length"}  # not its neighbouring items
_STATEMENTS = (nodes.Output, nodes.For, nodes.If, nodes.Assign, nodes.Continue, nodes.Break)
_MARK = "\ue000{}\ue001"


def writes_texts_as_they_are(source: str) -> bool:
    """Whether the template `source` uses the texts of messages in no other way than writing them.

    The proof looks at every use of `messages` and of a loop's message: allowed are other fields than the text
    anywhere, and the text in what is written, alone or joined with `+` or `~`. A text in a condition, filter, call or
    assignment, or a message that is passed on whole, ends it, and so does any statement beyond loops, conditions and
    assignments. What this leaves out may still be plain; it is only slower.
    """
    try:
        # S701: nothing is rendered here, only parsed.
        environment = jinja2.Environment(extensions=[loopcontrols], trim_blocks=True, lstrip_blocks=True)  # noqa: S701
        tree = environment.parse(source)
    except jinja2.TemplateError:
        return False
    if any(not isinstance(statement, _STATEMENTS) for statement in tree.find_all(nodes.Stmt)):
        return False
    return _Proof(tree).holds(tree)


class PlainTemplate:
    """Fills in conversations of the same roles as one that was rendered by `render` with marks instead of texts."""

    def __init__(self, render: Render) -> None:
        self._render = render
        self._shapes: dict[tuple[Role, ...], tuple[list[str], list[int]] | None] = {}

    def fill(self, conversation: Sequence[Message]) -> str | None:
        """The rendered conversation; None where its roles have no plain form."""
        roles = tuple(message.role for message in conversation)
        if roles not in self._shapes:
            self._shapes[roles] = self._shape(roles)
        shape = self._shapes[roles]
        if shape is None:
            return None
        literals, order = shape
        parts = [literals[0]]
        for literal, index in zip(literals[1:], order, strict=True):
            parts += conversation[index].content, literal
        return "".join(parts)

    def _shape(self, roles: tuple[Role, ...]) -> tuple[list[str], list[int]] | None:
        """The literals around the texts, and which message's text stands in each place."""
        try:
            rest = self._render([Message(role, _MARK.format(index)) for index, role in enumerate(roles)])
        except jinja2.TemplateError:
            return None
        literals: list[str] = []
        order: list[int] = []
        while _MARK[0] in rest:
            literal, _, rest = rest.partition(_MARK[0])
            index, _, rest = rest.partition(_MARK[-1])
            literals.append(literal)
            order.append(int(index))
        return [*literals, rest], order


class _Proof:
    """One pass over a template's tree; `holds` is false at the first use of a text that is more than writing it."""

    def __init__(self, tree: nodes.Template) -> None:
        loops = [loop.target.name for loop in tree.find_all(nodes.For) if isinstance(loop.target, nodes.Name)]
        self._names = {_MESSAGES, *loops}

    def holds(self, node: nodes.Node) -> bool:
        """Whether no text is used below `node` but to be written."""
        if isinstance(node, nodes.Output):
            return all(self._written(part) for part in node.nodes)
        if isinstance(node, nodes.For) and _is_messages(node.iter):
            return all(self.holds(child) for child in node.iter_child_nodes(exclude=("iter", "target")))
        if field := self._field(node):
            return field != _CONTENT and not hasattr(dict, field)
        if isinstance(node, nodes.Getattr) and isinstance(node.node, nodes.Name) and node.node.name == _LOOP:
            return node.attr in _LOOP_FIELDS
        if isinstance(node, nodes.Name):
            return node.ctx == "store" or (node.name not in self._names and node.name != _LOOP)
        return all(self.holds(child) for child in node.iter_child_nodes())

    def _written(self, node: nodes.Node) -> bool:
        if isinstance(node, nodes.Add | nodes.Concat):
            return all(self._written(child) for child in node.iter_child_nodes())
        return self._field(node) == _CONTENT or self.holds(node)

    def _field(self, node: nodes.Node) -> str:
        """The field's name where `node` is a field of a message, as `message.role` or `messages[0]['role']`."""
        if isinstance(node, nodes.Getattr):
            return node.attr if self._is_message(node.node) else ""
        if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str):
            return node.arg.value if self._is_message(node.node) else ""
        return ""

    def _is_message(self, node: nodes.Node) -> bool:
        if isinstance(node, nodes.Name):
            return node.name in self._names - {_MESSAGES}
        return (
            isinstance(node, nodes.Getitem)
            and _is_messages(node.node)
            and isinstance(node.arg, nodes.Const)
            and isinstance(node.arg.value, int)
        )


def _is_messages(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Name) and node.name == _MESSAGES
