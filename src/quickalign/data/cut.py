"""Making a prompt shorter without touching its system message or the marks of the chat template."""

from dataclasses import dataclass
from itertools import pairwise

from quickalign.data.records import Message
from quickalign.data.template import ChatTemplate, Conversation
from quickalign.data.text_tokens import TextTokens


@dataclass(frozen=True, slots=True)
class ShortPrompt:
    """A prompt that was cut: its ids, and whether nothing of the last question is left."""

    ids: list[int]
    question_lost: bool


class PromptCutter:
    """Cuts conversations from the left, in tokens.

    The cut is made in the messages, which are then rendered again, so a cut prompt is exactly what a server would send
    for the shorter conversation. The oldest question loses its first tokens; where nothing of it would be left, its
    whole turn goes, the reply with it, because a conversation that opens with a reply is never served. The last
    question loses tokens down to none. System messages stay whole. A prompt can come out a few tokens shorter than
    asked: a cut falls between characters, and a dropped turn takes its marks along.
    """

    def __init__(self, template: ChatTemplate, tokens: TextTokens) -> None:
        self._template = template
        self._tokens = tokens
        self._marks = self._marks_of_a_turn()

    def cut(self, messages: Conversation, ids: list[int], room: int) -> ShortPrompt:
        """Shorten `messages`, whose rendering has the token ids `ids`, to `room` tokens, or as far as can be."""
        while len(ids) > room:
            shorter = self._shorten(messages, len(ids) - room)
            if shorter == messages:
                break
            rendered = self._template.prompts([shorter])[0]
            if not isinstance(rendered, str):
                break
            messages = shorter
            ids = self._tokens.ids([rendered])[0]
        return ShortPrompt(ids, not messages[-1].content)

    def _shorten(self, messages: Conversation, excess: int) -> Conversation:
        """`messages` without its oldest turns or with a shorter oldest question; unchanged where nothing can go."""
        start = next(i for i, message in enumerate(messages) if message.role != "system")
        first = self._first_kept(messages[start:], excess) + start
        if first > start:
            return messages[:start] + messages[first:]
        question = messages[start]
        shorter = Message(question.role, self._tokens.tail(question.content, self._size(question) - excess))
        return (*messages[:start], shorter, *messages[start + 1 :])

    def _first_kept(self, turns: Conversation, excess: int) -> int:
        """Index of the first message that stays when whole turns go for as long as that is not too much."""
        starts = [i for i, message in enumerate(turns) if message.role == "user"]
        for start, following in pairwise(starts):
            if excess < self._size(turns[start]):
                return start
            excess -= self._marks + sum(self._size(message) for message in turns[start:following])
            if excess <= 0:
                return following
        return starts[-1]

    def _size(self, message: Message) -> int:
        return len(self._tokens.ids([message.content])[0])

    def _marks_of_a_turn(self) -> int:
        """Tokens that the template itself writes for one question and reply; 0 where it does not render the probe."""
        question, reply = Message("user", "a"), Message("assistant", "a")
        texts = self._template.prompts([(question,), (question, reply, question)])
        short, long = (self._tokens.ids([text])[0] if isinstance(text, str) else [] for text in texts)
        return max(len(long) - len(short) - self._size(question) - self._size(reply), 0)
