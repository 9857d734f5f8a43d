// The train form: data and its report, options checked as one types, the method's buttons, and the estimate.
import "./upload.js";
import { number, say, size } from "./texts.js";

const form = document.getElementById("train");
const data = form.querySelector("[data-train-data]");
const known = form.querySelector("[data-known]");
const field = (name) => form.elements[`option.${name}`];
const PAUSE = 700;
// what changes nothing of what the run needs
const WEIGHTLESS = ["csrf", "key", "way", "name", "output", "priority"];
let waiting = 0;
let estimated = "";

form.querySelector("[data-key]").value = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

function check(input) {
  const text = input.value.trim();
  const value = Number(text);
  const { kind, least, most, above, below } = input.dataset;
  let wrong = "";
  if (text === "" || Number.isNaN(value)) wrong = say("a number is needed");
  else if (kind === "integer" && !Number.isInteger(value)) wrong = say("a whole number is needed");
  else if (least !== undefined && value < Number(least)) wrong = say("at least %(bound)s", { bound: number(Number(least), 9) });
  else if (above !== undefined && value <= Number(above)) wrong = say("more than %(bound)s", { bound: number(Number(above), 9) });
  else if (most !== undefined && value > Number(most)) wrong = say("at most %(bound)s", { bound: number(Number(most), 9) });
  else if (below !== undefined && value >= Number(below)) wrong = say("less than %(bound)s", { bound: number(Number(below), 9) });
  const place = document.getElementById(`${input.id}-wrong`);
  place.hidden = !wrong;
  place.textContent = wrong;
  input.setAttribute("aria-invalid", String(Boolean(wrong)));
  return !wrong;
}

function isValid() {
  return [...form.querySelectorAll("[data-kind]")].map(check).every(Boolean);
}

function weighed() {
  const values = new FormData(form);
  for (const name of WEIGHTLESS) values.delete(name);
  return new URLSearchParams(values).toString();
}

function refresh() {
  window.clearTimeout(waiting);
  waiting = window.setTimeout(() => {
    const now = weighed();
    if (data.value.trim() && isValid() && now !== estimated) {
      // an estimate is a program of some seconds on the server
      estimated = now;
      tellWaiting();
      form.dispatchEvent(new CustomEvent("estimate"));
    }
    if (form.querySelector("[data-code]").open) form.dispatchEvent(new CustomEvent("code"));
  }, PAUSE);
}

/** An earlier estimate stays until the next one is there. */
function tellWaiting() {
  const place = document.getElementById("estimate");
  if (place.querySelector("[data-estimate]")) return;
  const text = document.createElement("p");
  text.className = "soft";
  text.textContent = say("The data is read and the run planned…");
  place.replaceChildren(text);
}

function report() {
  const chosen = data.value.trim();
  const target = document.getElementById("data-report");
  if (!chosen.startsWith("file-")) { target.replaceChildren(); return; }
  target.textContent = say("The whole file is read and checked…");
  const query = new URLSearchParams({ model: form.elements.model.value, seq_length: field("seq_length").value });
  window.htmx.ajax("GET", `/console/datasets/${encodeURIComponent(chosen)}/report?${query}`, { source: target, target });
}

function methodOf() {
  if (field("lora_dim").value.trim() === "0") return "full";
  if (field("load_in_8bit").value === "true") return "qlora-8bit";
  return field("load_in_4bit").value === "true" ? "qlora-4bit" : "lora";
}

function showMethod() {
  for (const radio of form.elements.way) radio.checked = radio.value === methodOf();
}

function takeMethod(way) {
  field("load_in_4bit").value = String(way === "qlora-4bit");
  field("load_in_8bit").value = String(way === "qlora-8bit");
  if (way === "full") field("lora_dim").value = "0";
  else if (field("lora_dim").value.trim() === "0") field("lora_dim").value = "32";
}

function choose(id) {
  data.value = id;
  known.value = [...known.options].some((option) => option.value === id) ? id : "";
  report();
  refresh();
}

form.addEventListener("input", (event) => {
  const target = event.target;
  if (target === known || target.name === "way") return;
  if (target.matches("[data-kind]")) check(target);
  if (target.name?.startsWith("option.")) showMethod();
  refresh();
});
form.addEventListener("change", (event) => {
  const target = event.target;
  if (target.name === "way") { takeMethod(target.value); refresh(); }
  if (target === known) choose(known.value);
  // not at once: whoever leaves a field by pressing a button must find it where it was
  if (target === data || target.name === "model" || target === field("seq_length")) window.setTimeout(report, PAUSE);
});
form.addEventListener("uploaded", ({ detail }) => {
  known.append(new Option(`${detail.filename} · ${size(detail.bytes)}`, detail.id));
  choose(detail.id);
});
form.addEventListener("click", (event) => {
  const apply = event.target.closest("[data-apply]");
  if (!apply) return;
  for (const [name, value] of Object.entries(JSON.parse(apply.dataset.apply))) {
    const input = name === "model" ? form.elements.model : field(name);
    if (input) input.value = String(value);
  }
  showMethod();
  refresh();
});
form.addEventListener("htmx:confirm", (event) => {
  if (event.target === form && !isValid()) {
    event.preventDefault();
    const first = form.querySelector('[aria-invalid="true"]');
    first.closest("details")?.setAttribute("open", "");
    first.focus();
  }
});
form.querySelector("[data-code]").addEventListener("toggle", refresh);

showMethod();
if (data.value) { report(); refresh(); }
