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
  let columns = [];
  let control = null;
  let chat = newChat();

  function newChat() {
    return { id: `${Date.now()}-${Math.floor(Math.random() * 1e6)}`, messages: [] };
  }

  function shuffled(names) {
    return names.map((name) => [Math.random(), name]).sort(([a], [b]) => a - b).map(([, name]) => name);
  }

  function arrange() {
    const chosen = boxes.filter((box) => box.checked);
    const hidden = blind.checked && chosen.length > 1;
    const history = columns[0]?.messages ?? chat.messages;
    const names = hidden ? shuffled(chosen.map((box) => box.value)) : chosen.map((box) => box.value);
    columns = names.map((name, index) => {
      const box = boxes.find((one) => one.value === name);
      const title = hidden ? say("Answer %(letter)s", { letter: "ABCDEFGH"[index] }) : name;
      const facts = { revision: Number(box.dataset.revision) || null, model: box.dataset.serves || null };
      return new Column(name, title, facts, structuredClone(history));
    });
    place.replaceChildren(...columns.map((column) => column.box));
    settle();
  }

  function settle() {
    const busy = control !== null;
    const last = columns[0]?.messages.at(-1);
    send.hidden = busy;
    send.disabled = columns.length === 0;
    stop.hidden = !busy;
    again.hidden = edit.hidden = busy || !last;
    status.textContent = columns.length ? "" : say("Choose a service.");
    showVotes();
  }

  function comparable() {
    const before = JSON.stringify(columns[0]?.before);
    return columns.length > 1 && !control && columns.every((one) => one.answer !== null && !one.voted && JSON.stringify(one.before) === before);
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
    return { text: column.answer, service: column.service, ...column.facts };
  }

  async function keep(left, right, choice, edited) {
    const messages = left.before.length ? left.before : [];
    const system = find("system").value.trim();
    if (system) messages.unshift({ role: "system", content: system });
    const body = { messages, left: candidate(left), right: candidate(right), choice, blind: blind.checked };
    if (edited) body.edited = edited;
    return ask("/console/votes", { method: "POST", body });
  }

  async function vote(winner, choice, edited) {
    try {
      let count = null;
      if (winner) for (const other of columns) { if (other !== winner) count = await keep(winner, other, "left"); }
      else count = await keep(columns[0], columns[1], choice, edited);
      document.querySelector("[data-pairs]").textContent = count.pairs;
      document.querySelector("[data-train-votes]").disabled = count.pairs === 0;
    } catch (error) { status.textContent = error.message; return; }
    const text = edited ?? winner?.answer;
    for (const column of columns) {
      column.title = column.service;
      column.voted = true;
      // the conversation goes on from what was preferred, so that the next answers can be compared again
      if (text) column.messages.at(-1).content = text;
      column.draw();
    }
    votes.hidden = true;
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

  function sampling() {
    const found = {};
    for (const input of root.querySelectorAll("[data-sampling]")) {
      if (input.value.trim() !== "" && !Number.isNaN(Number(input.value))) found[input.dataset.sampling] = Number(input.value);
    }
    return found;
  }

  async function answer() {
    control = new AbortController();
    for (const column of columns) column.voted = false;
    settle();
    await Promise.all(columns.map((column) => column.ask(find("system").value.trim(), sampling(), control.signal)));
    control = null;
    settle();
    remember();
  }

  function submit() {
    const text = message.value.trim();
    if (!text || control || !columns.length) return;
    message.value = "";
    for (const column of columns) { column.messages.push({ role: "user", content: text }); column.draw(); }
    answer();
  }

  function stored() {
    try { return JSON.parse(localStorage.getItem(STORE)) ?? []; } catch { return []; }
  }

  function remember() {
    const messages = columns[0].messages.filter((one) => !one.failed);
    if (!messages.length) return;
    const others = stored().filter((one) => one.id !== chat.id);
    localStorage.setItem(STORE, JSON.stringify([{ ...chat, messages, title: messages[0].content.slice(0, 60) }, ...others].slice(0, KEPT)));
    history();
  }

  function history() {
    find("history").replaceChildren(...stored().map((one) => button(one.title, () => { chat = { id: one.id, messages: one.messages }; columns = []; arrange(); }, "quiet")));
  }

  find("composer").addEventListener("submit", (event) => { event.preventDefault(); submit(); });
  message.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); submit(); }
  });
  stop.addEventListener("click", () => control?.abort());
  again.addEventListener("click", () => { columns.forEach((column) => column.forgetAnswer()); answer(); });
  edit.addEventListener("click", () => {
    columns.forEach((column) => column.forgetAnswer());
    message.value = columns[0].messages.at(-1)?.content ?? "";
    for (const column of columns) { column.messages.pop(); column.draw(); }
    settle();
    message.focus();
  });
  document.querySelector("[data-new]").addEventListener("click", () => { chat = newChat(); columns = []; arrange(); message.focus(); });
  for (const box of [...boxes, blind]) box.addEventListener("change", arrange);
  history();
  arrange();
}
