// The chat page: columns of services, one message to all of them, votes, and chats that this browser remembers.
import { Column } from "./chat-column.js";
import { ask } from "./requests.js";
import { say } from "./texts.js";

const root = document.querySelector("[data-chat]");
const KEPT = 30;
const STORE = "quickalign.chats";
if (root) start();

function start() {
  const find = (name) => root.querySelector(`[data-${name}]`);
  const boxes = [...root.querySelectorAll('input[name="service"]')];
  const [place, votes, message, status] = [find("columns"), find("votes"), find("message"), find("status")];
  const [send, stop, again, edit, blind] = [find("send"), find("stop"), find("again"), find("edit"), find("blind")];
  const begin = document.querySelector("[data-new]");
  let columns = [];
  let control = null;
  // whether nobody can tell which column is whose: they were shuffled for an answer, and no name was shown since
  let secret = false;
  // what is to be said of the browser's store since the last message
  let full = "";
  let chat = newChat();

  /** A chat: what each service was told and has said in it, by the service's name; `leading` is whose talk goes on. */
  function newChat() {
    return { id: `${Date.now()}-${Math.floor(Math.random() * 1e6)}`, talks: {} };
  }

  function shuffled(names) {
    return names.map((name) => [Math.random(), name]).sort(([a], [b]) => a - b).map(([, name]) => name);
  }

  function keepTalks() {
    for (const column of columns) chat.talks[column.service] = column.messages;
    chat.leading = columns[0]?.service ?? chat.leading;
  }

  function asked(messages) {
    return JSON.stringify(messages.map(({ role, content }) => (role === "user" ? content : null)));
  }

  /** A service's own talk if it was asked the same; else it joins the conversation as it is, in which others have spoken. */
  function talkOf(name, current) {
    const own = chat.talks[name];
    return structuredClone(own && asked(own) === asked(current) ? own : current);
  }

  /** Names were shown, or can be told: what was answered before is not blind any more, here and in the store. */
  function reveal() {
    secret = false;
    keepTalks();
    const blinded = Object.values(chat.talks).flat().filter((one) => one.unseen);
    for (const one of blinded) one.unseen = false;
    if (blinded.length) remember();
  }

  function hides() {
    return blind.checked && boxes.filter((box) => box.checked).length > 1;
  }

  function arrange() {
    keepTalks();
    const chosen = boxes.filter((box) => box.checked);
    const hidden = hides();
    const longest = Object.values(chat.talks).sort((one, other) => other.length - one.length)[0] ?? [];
    const current = columns[0]?.messages ?? chat.talks[chat.leading] ?? longest;
    const names = hidden ? shuffled(chosen.map((box) => box.value)) : chosen.map((box) => box.value);
    const titles = new Map(names.map((name, index) => [name, hidden ? say("Answer %(letter)s", { letter: String.fromCharCode(65 + index) }) : name]));
    columns = names.map((name) => {
      const box = boxes.find((one) => one.value === name);
      const facts = { revision: Number(box.dataset.revision) || null, model: box.dataset.serves || null };
      return new Column(name, titles, facts, talkOf(name, current));
    });
    place.replaceChildren(...columns.map((column) => column.box));
    secret = false;
    if (!hidden) reveal();
    settle();
  }

  function settle() {
    const busy = control !== null;
    const last = columns[0]?.messages.at(-1);
    send.hidden = busy;
    send.disabled = columns.length === 0;
    stop.hidden = !busy;
    again.hidden = edit.hidden = busy || !last;
    // an answer that is on its way belongs to the columns that are there
    find("services").disabled = begin.disabled = busy;
    for (const one of find("history").children) one.disabled = busy;
    status.textContent = columns.length ? full : say("Choose a service.");
    showVotes();
  }

  function comparable() {
    const before = JSON.stringify(columns[0]?.before);
    return columns.length > 1 && !control && columns.every((one) => one.answer !== null && !one.messages.at(-1).voted && JSON.stringify(one.before) === before);
  }

  function button(label, act, kind = "") {
    const made = document.createElement("button");
    made.type = "button";
    made.className = `button little ${kind}`;
    made.textContent = label;
    made.addEventListener("click", act);
    return made;
  }

  function showVotes() {
    votes.hidden = !comparable();
    if (votes.hidden) return;
    const label = document.createElement("span");
    label.className = "label";
    label.textContent = say("Which is better?");
    const better = columns.map((one) => button(one.title, () => vote(one)));
    const others = columns.length === 2 ? [button(say("Tie"), () => vote(null, "tie")), button(say("Both bad"), () => vote(null, "both_bad"))] : [];
    votes.replaceChildren(label, ...better, ...others, button(say("Write a better one"), write));
  }

  function candidate(column) {
    return { text: column.answer, service: column.service, ...column.messages.at(-1).source };
  }

  async function keep(left, right, choice, edited) {
    const messages = left.before.length ? left.before : [];
    const system = find("system").value.trim();
    if (system) messages.unshift({ role: "system", content: system });
    const unseen = [left, right].every((one) => one.messages.at(-1).unseen);
    const body = { messages, left: candidate(left), right: candidate(right), choice, blind: unseen };
    if (edited) body.edited = edited;
    return ask("/console/votes", { method: "POST", body });
  }

  async function vote(winner, choice, edited) {
    votes.hidden = true;
    try {
      let count = null;
      if (winner) for (const other of columns) { if (other !== winner) count = await keep(winner, other, "left"); }
      else count = await keep(columns[0], columns[1], choice, edited);
      document.querySelector("[data-pairs]").textContent = count.pairs;
      document.querySelector("[data-train-votes]").disabled = count.pairs === 0;
    } catch (error) { status.textContent = error.message; votes.hidden = false; return; }
    reveal();
    // the conversation goes on from what was preferred, so that the next answers can be compared again
    const preferred = edited ? { content: edited, by: say("A better answer") } : winner?.messages.at(-1);
    for (const column of columns) {
      column.titles = new Map();
      Object.assign(column.messages.at(-1), { voted: true }, preferred && { facts: undefined, ...preferred, settled: true });
      column.draw();
    }
    status.textContent = say("The vote is kept.");
    remember();
  }

  function write() {
    const label = document.createElement("label");
    label.className = "label";
    label.htmlFor = "better";
    label.textContent = say("A better answer");
    const field = document.createElement("textarea");
    field.id = "better";
    field.rows = 4;
    field.value = columns[0].answer;
    votes.replaceChildren(label, field, button(say("Keep it"), () => field.value.trim() && vote(null, "edited", field.value.trim()), "primary"), button(say("Back"), showVotes));
    field.focus();
  }

  const inputs = [...root.querySelectorAll("[data-sampling]")];

  /** Whether all sampling is numbers; the first that is none is shown. */
  function isSound() {
    for (const input of inputs) input.setAttribute("aria-invalid", String(Number.isNaN(Number(input.value))));
    const wrong = inputs.find((input) => input.getAttribute("aria-invalid") === "true");
    if (wrong) {
      wrong.closest("details").open = true;
      wrong.focus();
      status.textContent = `${wrong.labels[0].textContent}: ${say("a number is needed")}`;
    }
    return !wrong;
  }

  function sampling() {
    return Object.fromEntries(inputs.filter((input) => input.value.trim()).map((input) => [input.dataset.sampling, Number(input.value)]));
  }

  async function answer() {
    if (hides() && !secret) {
      arrange();
      secret = true;
    }
    control = new AbortController();
    settle();
    await Promise.all(columns.map((column) => column.ask(find("system").value.trim(), sampling(), control.signal, secret)));
    control = null;
    settle();
    remember();
  }

  function submit() {
    const text = message.value.trim();
    if (!text || control || !columns.length || !isSound()) return;
    message.value = full = "";
    for (const column of columns) { column.messages.push({ role: "user", content: text }); column.draw(); }
    remember();
    answer();
  }

  function stored() {
    try { return JSON.parse(localStorage.getItem(STORE)) ?? []; } catch { return []; }
  }

  function remember() {
    keepTalks();
    const title = columns[0]?.messages[0]?.content.slice(0, 60);
    if (!title) return;
    const others = stored().filter((one) => one.id !== chat.id);
    const kept = [{ ...chat, title }, ...others].slice(0, KEPT);
    const count = kept.length;
    while (kept.length && !store(kept)) kept.pop();
    if (!kept.length) full = say("The browser has no room for this chat: it goes with the page.");
    else if (kept.length < count) full = say("The browser has no room for more chats: the oldest were deleted.");
    if (kept.length < count) status.textContent = full;
    history();
  }

  function store(chats) {
    try { localStorage.setItem(STORE, JSON.stringify(chats)); } catch { return false; }
    return true;
  }

  function history() {
    find("history").replaceChildren(...stored().map((one) => button(one.title, () => {
      full = "";
      chat = { id: one.id, talks: one.talks ?? { "": one.messages }, leading: one.leading };
      columns = [];
      arrange();
    }, "quiet")));
  }

  find("composer").addEventListener("submit", (event) => { event.preventDefault(); submit(); });
  message.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); submit(); }
  });
  stop.addEventListener("click", () => control?.abort());
  again.addEventListener("click", () => {
    if (!isSound()) return;
    full = "";
    columns.forEach((column) => column.forgetAnswer());
    answer();
  });
  edit.addEventListener("click", () => {
    columns.forEach((column) => column.forgetAnswer());
    message.value = columns[0].messages.at(-1)?.content ?? "";
    for (const column of columns) { column.messages.pop(); column.draw(); }
    settle();
    message.focus();
  });
  begin.addEventListener("click", () => { chat = newChat(); columns = []; full = ""; arrange(); message.focus(); });
  // whose answer comes or goes is told by that
  for (const box of boxes) box.addEventListener("change", () => { reveal(); arrange(); });
  blind.addEventListener("change", arrange);
  history();
  arrange();
}
