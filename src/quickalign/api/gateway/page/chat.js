// The page of one service. Model output is only ever set as text, never as HTML.

import { chat, describe } from "./api.js";

const part = (id) => document.getElementById(id);
const name = decodeURIComponent(location.pathname.split("/").filter(Boolean).at(-1));
const key = `quickalign.token.${name}`;
const history = [];
let running = null;

function show(state) {
  const open = state === "open";
  part("entry").hidden = open;
  for (const id of ["composer", "settings-toggle", "clear"]) part(id).hidden = !open;
  part("empty").hidden = !open || history.length > 0;
  if (!open) part("settings").hidden = true;
  (open ? part("input") : part("token")).focus();
}

function refuse(message) {
  sessionStorage.removeItem(key);
  show("closed");
  part("entry-error").textContent = message;
  part("entry-error").hidden = !message;
}

async function open(token) {
  try {
    const model = await describe(token);
    sessionStorage.setItem(key, token);
    part("about").textContent = [model.engine, model.precision, model.max_model_len && `${model.max_model_len} tokens`]
      .filter(Boolean).join(" · ") || "quickalign";
    part("entry-error").hidden = true;
    part("token").value = "";
    show("open");
  } catch (error) {
    if (error.status === 401) return refuse("This token does not open the service.");
    if (!sessionStorage.getItem(key)) return refuse(error.message);
    show("open"); // the token was good before; the service may be starting
    part("about").textContent = error.message;
  }
}

function bubble(role, text) {
  const item = document.createElement("li");
  item.className = role;
  const body = document.createElement("div");
  body.className = "text";
  body.textContent = text;
  item.append(body);
  part("messages").append(item);
  part("empty").hidden = true;
  item.scrollIntoView({ block: "end" });
  return item;
}

function note(item, kind, text) {
  const line = document.createElement("p");
  line.className = kind;
  line.textContent = text;
  item.append(line);
}

function settings() {
  const system = part("system").value.trim();
  const most = part("most").valueAsNumber;
  return {
    messages: [...(system ? [{ role: "system", content: system }] : []), ...history],
    temperature: part("temperature").valueAsNumber,
    ...(most > 0 ? { max_tokens: most } : {}),
  };
}

async function send(text) {
  history.push({ role: "user", content: text });
  bubble("user", text);
  const item = bubble("assistant waiting", "");
  const body = item.firstChild;
  const begun = performance.now();
  let answer = "", first = null, tokens = null, problem = null, finish = null;
  running = new AbortController();
  busy(true);
  try {
    for await (const chunk of chat(sessionStorage.getItem(key), settings(), running.signal)) {
      tokens = chunk.usage?.completion_tokens ?? tokens;
      finish = chunk.choices?.[0]?.finish_reason ?? finish;
      const piece = chunk.choices?.[0]?.delta?.content;
      if (!piece) continue;
      first ??= performance.now();
      item.className = "assistant writing";
      answer += piece;
      follow(() => body.append(piece));
    }
  } catch (error) {
    problem = error;
  }
  item.className = "assistant";
  const stopped = running.signal.aborted;
  running = null;
  busy(false);
  if (answer) history.push({ role: "assistant", content: answer });
  else history.pop();
  follow(() => {
    if (problem && !stopped) note(item, "problem", problem.message);
    note(item, "meta", summary({ begun, first, tokens, finish, stopped }));
  });
  if (problem?.status === 401) refuse("The token does not open the service any more.");
}

function summary({ begun, first, tokens, finish, stopped }) {
  const now = performance.now();
  const parts = [];
  if (first !== null) parts.push(`first token ${Math.round(first - begun)} ms`);
  if (tokens > 1 && first !== null) parts.push(`${((tokens - 1) / ((now - first) / 1000)).toFixed(1)} tokens/s`);
  if (tokens !== null) parts.push(`${tokens} tokens`);
  if (stopped) parts.push("stopped");
  else if (finish === "length") parts.push("cut at the most tokens");
  return parts.join(" · ");
}

/** Change the page and keep its end in sight, unless the reader has scrolled away from it. */
function follow(change) {
  const main = part("chat");
  const near = main.scrollHeight - main.scrollTop - main.clientHeight < 80;
  change();
  if (near) main.scrollTop = main.scrollHeight;
}

function busy(is) {
  part("send").hidden = is;
  part("stop").hidden = !is;
  part("clear").disabled = is;
  grow();
}

function grow() {
  const input = part("input");
  input.style.height = "auto";
  input.style.height = `${input.scrollHeight + 2}px`;
  part("send").disabled = !input.value.trim();
}

part("entry").addEventListener("submit", (event) => {
  event.preventDefault();
  open(part("token").value.trim());
});
part("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = part("input").value.trim();
  if (!text || running) return;
  part("input").value = "";
  send(text);
});
part("input").addEventListener("input", grow);
part("input").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  part("composer").requestSubmit();
});
part("stop").addEventListener("click", () => running?.abort());
part("clear").addEventListener("click", () => {
  history.length = 0;
  part("messages").replaceChildren();
  show("open");
});
part("settings-toggle").addEventListener("click", () => {
  const shown = part("settings").hidden;
  part("settings").hidden = !shown;
  part("settings-toggle").setAttribute("aria-expanded", String(shown));
});
part("temperature").addEventListener("input", () => {
  part("temperature-shown").textContent = part("temperature").valueAsNumber.toFixed(1);
});
part("forget").addEventListener("click", () => {
  running?.abort();
  refuse("");
});

document.title = `${name} · quickalign`;
part("name").textContent = name;
grow();
const known = sessionStorage.getItem(key);
if (known) open(known);
else show("closed");
