"""The chat page with services that answer by a script: what each has said stays its own."""

import json

import httpx
import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.slow
SAYS = """[...document.querySelectorAll(".talk")].map((talk) => [
  talk.getAttribute("aria-label"),
  ...[...talk.querySelectorAll(".said.assistant")].map((one) => [
    one.querySelector(".who").firstChild.textContent, one.querySelector(".bubble").textContent,
  ]),
])"""


@pytest.fixture(scope="module")
def services(server):
    """Two names of services; nothing runs behind them."""
    endpoint, token, _ = server
    with httpx.Client(base_url=endpoint, headers={"Authorization": f"Bearer {token}"}, timeout=120) as client:
        for name in ("one", "two"):
            spec = {"source": {"model": "qwen2-tiny-instruct"}}
            client.post("/api/v1/services", json={"name": name, "spec": spec}).raise_for_status()
            client.post(f"/api/v1/services/{name}/stop").raise_for_status()
        yield ("one", "two")
        for name in ("one", "two"):
            client.delete(f"/api/v1/services/{name}")


@pytest.fixture
def language():
    return "en"


@pytest.fixture
def chat(window, server, services, language):
    """The page, with both services chosen, which answer with their name and the number of what they were told."""
    watched = window(language)
    page = watched.page
    page.votes, page.problems = [], watched.problems

    def answer(route):
        name = route.request.url.partition("/services/")[2].partition("/")[0]
        told = route.request.post_data_json["messages"]
        chunk = json.dumps({"choices": [{"delta": {"content": f"{name} {len(told)}"}, "index": 0}]})
        route.fulfill(content_type="text/event-stream", body=f"data: {chunk}\n\ndata: [DONE]\n\n")

    def vote(route):
        page.votes.append(route.request.post_data_json)
        route.fulfill(json={"votes": len(page.votes), "pairs": len(page.votes)})

    def awake(route):
        got = route.fetch()
        route.fulfill(response=got, body=got.text().replace(" disabled><span", "><span"))

    page.route("**/v1/chat/completions", answer)
    page.route("**/console/votes", vote)
    page.route("**/console/chat**", awake)
    page.goto(f"{server[0]}/console/chat?service=one&service=two")
    return page


def send(page, text):
    page.fill("[data-message]", text)
    page.click("[data-send]")
    expect(page.locator("[data-send]")).to_be_visible()


def said(page):
    return {name: messages for name, *messages in page.evaluate(SAYS)}


def test_answers_stay_with_who_gave_them(chat):
    send(chat, "Hello")
    first = {"one": [["one", "one 1"]], "two": [["two", "two 1"]]}
    assert said(chat) == first
    chat.uncheck('[value="two"]')
    assert said(chat) == {"one": first["one"]}
    chat.check('[value="two"]')
    chat.uncheck('[value="one"]')
    assert said(chat) == {"two": first["two"]}
    chat.check('[value="one"]')
    assert said(chat) == first
    chat.reload()
    chat.locator("details.card summary").last.click()
    chat.click("[data-history] button")
    assert said(chat) == first


def test_one_that_joins_has_said_nothing_yet(chat):
    chat.uncheck('[value="two"]')
    send(chat, "Hello")
    chat.check('[value="two"]')
    assert said(chat) == {"one": [["one", "one 1"]], "two": [["one", "one 1"]]}
    expect(chat.locator("[data-votes]")).to_be_hidden()
    send(chat, "And now?")
    assert said(chat)["two"] == [["one", "one 1"], ["two", "two 3"]]
    expect(chat.locator("[data-votes]")).to_be_visible()


def test_one_that_comes_back_joins_the_conversation_as_it_is(chat):
    """It was asked something else before; what was asked instead stays, whoever is there."""
    told = []
    chat.on("request", lambda one: told.append(one.post_data_json) if "/v1/chat/completions" in one.url else None)
    send(chat, "Hello")
    chat.uncheck('[value="two"]')
    chat.click("[data-edit]")
    send(chat, "Bye")
    chat.check('[value="two"]')
    assert said(chat) == {"one": [["one", "one 1"]], "two": [["one", "one 1"]]}
    assert chat.locator(".said.user .bubble").all_text_contents() == ["Bye", "Bye"]
    send(chat, "And now?")
    assert told[-1]["messages"] == told[-2]["messages"]


@pytest.mark.parametrize("name", ["one", "two"])
def test_the_conversation_goes_on_when_everybody_left(chat, name):
    """Not with what the other service was asked before it."""
    send(chat, "Hello")
    other = {"one": "two", "two": "one"}[name]
    chat.uncheck(f'[value="{other}"]')
    chat.click("[data-edit]")
    send(chat, "Bye")
    chat.uncheck(f'[value="{name}"]')
    chat.check(f'[value="{name}"]')
    assert chat.locator(".said.user .bubble").all_text_contents() == ["Bye"]
    assert said(chat) == {name: [[name, f"{name} 1"]]}


def test_blind_is_what_nobody_could_see(chat):
    send(chat, "Hello")
    chat.check("[data-blind]")
    hidden = said(chat)
    assert list(hidden) == ["Answer A", "Answer B"]
    assert {name: messages[0][0] for name, messages in hidden.items()} == {
        "Answer A": "Answer A",
        "Answer B": "Answer B",
    }
    assert sorted(messages[0][1] for messages in hidden.values()) == ["one 1", "two 1"]
    chat.locator("[data-votes] button").first.click()
    expect(chat.locator("[data-pairs]")).to_have_text("1")
    assert chat.votes[0]["blind"] is False, "the names were seen before"
    assert [chat.votes[0][side]["text"] for side in ("left", "right")] == [
        f"{chat.votes[0][side]['service']} 1" for side in ("left", "right")
    ]
    send(chat, "And now?")
    assert list(said(chat)) == ["Answer A", "Answer B"], "which is which is hidden again"
    chat.locator("[data-votes] button").first.click()
    expect(chat.locator("[data-pairs]")).to_have_text("2")
    assert chat.votes[1]["blind"] is True


def vote(page):
    """Whether the server is told that the vote was blind."""
    before = len(page.votes)
    page.locator("[data-votes] button").first.click()
    expect(page.locator("[data-pairs]")).to_have_text(str(before + 1))
    return page.votes[-1]["blind"]


def ask_again(page):
    page.click("[data-again]")
    expect(page.locator("[data-again]")).to_be_visible()


def test_asked_again_the_places_are_others_once_the_names_were_seen(chat):
    """With numbers that rise, the services stand in their own order; with numbers that fall they are turned round."""
    send(chat, "Hello")
    chat.evaluate("() => { let last = 0; Math.random = () => last++; }")
    chat.check("[data-blind]")
    known = [answer for (_, answer), *_ in said(chat).values()]
    assert sorted(known) == ["one 1", "two 1"]
    chat.evaluate("() => { let last = 0; Math.random = () => last--; }")
    ask_again(chat)
    assert [answer for (_, answer), *_ in said(chat).values()] == known[::-1]
    assert vote(chat) is True


@pytest.mark.parametrize("reloaded", [False, True])
def test_a_service_that_left_a_blind_chat_was_seen(chat, reloaded):
    chat.check("[data-blind]")
    send(chat, "Hello")
    chat.uncheck('[value="two"]')
    assert list(said(chat)) == ["one"]
    chat.check('[value="two"]')
    assert list(said(chat)) == ["Answer A", "Answer B"]
    if reloaded:
        chat.reload()
        chat.check("[data-blind]")
        chat.locator("details.card summary").last.click()
        chat.click("[data-history] button")
    assert vote(chat) is False


def test_blind_belongs_to_an_answer_not_to_the_page(chat):
    send(chat, "Openly")
    chat.click("[data-new]")
    chat.check("[data-blind]")
    send(chat, "Blindly")
    chat.locator("details.card summary").last.click()
    chat.click('[data-history] button:text("Openly")')
    assert vote(chat) is False
    chat.click('[data-history] button:text("Blindly")')
    chat.locator("[data-votes] button").first.click()
    expect(chat.locator("[data-pairs]")).to_have_text("2")
    assert chat.votes[1]["blind"] is True


FULL = """() => {
  const set = Storage.prototype.setItem;
  Storage.prototype.setItem = function (key, value) {
    if (JSON.parse(value).length > window.room) throw new DOMException("full", "QuotaExceededError");
    set.call(this, key, value);
  };
}"""


def test_a_store_that_is_full_keeps_the_newest_chats_and_says_so(chat):
    chat.evaluate(FULL)
    chat.evaluate("window.room = 2")
    chat.locator("details.card summary").last.click()
    for text in ("first", "second"):
        send(chat, text)
        expect(chat.locator("[data-status]")).to_have_text("")
        chat.click("[data-new]")
    send(chat, "third")
    expect(chat.locator("[data-status]")).to_have_text(
        "The browser has no room for more chats: the oldest were deleted."
    )
    assert chat.locator("[data-history] button").all_text_contents() == ["third", "second"]
    chat.evaluate("window.room = 0")
    chat.click("[data-new]")
    send(chat, "fourth")
    expect(chat.locator("[data-status]")).to_have_text("The browser has no room for this chat: it goes with the page.")
    assert chat.locator("[data-history] button").all_text_contents() == ["third", "second"], "nothing is lost for it"


def test_sampling_that_is_no_number_is_told(chat):
    chat.locator("details.card summary").first.click()
    chat.fill('[data-sampling="temperature"]', "hot")
    chat.fill("[data-message]", "Hello")
    chat.click("[data-send]")
    expect(chat.locator("[data-status]")).to_have_text("Temperature: a number is needed")
    expect(chat.locator("[data-message]")).to_have_value("Hello")
    assert said(chat) == {"one": [], "two": []}


FAILURES = {
    "refused": (
        {"status": 400, "json": {"error": {"message": "temperature: Input should be less than or equal to 2."}}},
        "temperature：应小于或等于 2。",
    ),
    "in the middle": (
        {
            "content_type": "text/event-stream",
            "body": 'data: {"error": {"message": "The replica that was answering is gone. Send the request again."}}\n\n',
        },
        "正在应答的副本不在了。请重新发送请求。",
    ),
    "gone": (None, "服务器没有应答。请确认它在运行，然后重试。"),
}


@pytest.mark.parametrize("language", ["zh"])
@pytest.mark.parametrize("how", FAILURES)
def test_a_failure_is_told_in_the_language_of_the_page(chat, how):
    answer, expected = FAILURES[how]
    chat.route("**/services/one/v1/**", lambda route: route.fulfill(**answer) if answer else route.abort("failed"))
    chat.uncheck('[value="two"]')
    send(chat, "你好")
    expect(chat.locator(".bubble.failed")).to_have_text(expected)
    chat.problems.clear()  # which are what was to happen
