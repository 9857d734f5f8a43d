// What every page does: the menu, tabs, copying, asking before something is lost, sorting, and the mark of a change.
import "./kept.js";
import { csrf } from "./requests.js";
import { say } from "./texts.js";

document.addEventListener("htmx:configRequest", (event) => {
  if (event.detail.verb !== "get") event.detail.headers["X-CSRF-Token"] = csrf;
  // what nobody sees needs no news; the next turn asks again
  if (document.hidden && isAskedAgain(event.detail.elt)) event.preventDefault();
});
let ticked = [];
document.addEventListener("htmx:beforeSwap", ({ detail }) => {
  ticked = [];
  if (!isAskedAgain(detail.requestConfig.elt)) return;
  // the form that somebody is being asked about must not be taken away
  if (isAsking()) detail.shouldSwap = false;
  // a table that renews itself keeps what was ticked in it; focus is kept by htmx, for elements with an id
  ticked = [...detail.target.querySelectorAll("input[id]:checked")].map((box) => box.id);
});
document.addEventListener("htmx:afterSwap", () => {
  for (const id of ticked) document.getElementById(id)?.setAttribute("checked", "");
});
for (const kind of ["htmx:sendError", "htmx:responseError", "htmx:timeout"]) {
  document.addEventListener(kind, (event) => {
    // what is asked for again and again keeps what it shows; the next answer replaces it
    if (isAskedAgain(event.detail.elt)) return;
    (event.detail.target ?? event.detail.elt).textContent = say("The server does not answer. Check that it runs, and try again.");
  });
}

document.addEventListener("click", (event) => {
  const menu = event.target.closest("[data-menu]");
  if (menu) toggleMenu(menu);
  const copy = event.target.closest("[data-copy]");
  if (copy) copyText(copy);
  const tab = event.target.closest('[role="tab"]');
  if (tab) openTab(tab);
  const sort = event.target.closest("button.sort");
  if (sort) sortBy(sort);
});

document.addEventListener("keydown", (event) => {
  const tab = event.target.closest?.('[role="tab"]');
  if (!tab || !["ArrowLeft", "ArrowRight", "Home", "End"].includes(event.key)) return;
  const tabs = [...tab.parentElement.querySelectorAll('[role="tab"]')];
  const step = { ArrowLeft: tabs.indexOf(tab) - 1, ArrowRight: tabs.indexOf(tab) + 1, Home: 0, End: tabs.length - 1 }[event.key];
  const next = tabs[(step + tabs.length) % tabs.length];
  event.preventDefault();
  openTab(next);
  next.focus();
});

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.dataset.ask || form.dataset.agreed) return;
  event.preventDefault();
  const dialog = document.getElementById("ask");
  dialog.querySelector("#ask-title").textContent = form.dataset.ask;
  dialog.querySelector("[data-text]").textContent = form.dataset.askText ?? "";
  dialog.querySelector("[data-yes]").textContent = form.dataset.askYes ?? say("Yes");
  dialog.returnValue = "no";
  dialog.onclose = () => {
    if (dialog.returnValue !== "yes") return;
    form.dataset.agreed = "yes";
    form.requestSubmit();
  };
  dialog.showModal();
});

/** Whether a question stands open over the page. */
export function isAsking() {
  return document.getElementById("ask")?.open ?? false;
}

function isAskedAgain(element) {
  return Boolean(element.getAttribute("hx-trigger")?.includes("every"));
}

function toggleMenu(button) {
  const open = document.getElementById("menu").classList.toggle("open");
  button.setAttribute("aria-expanded", String(open));
}

async function copyText(button) {
  const text = button.parentElement.querySelector("pre").textContent;
  const label = button.querySelector("span");
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // a page without encryption may not use the clipboard; selecting the text is the next best
    window.getSelection().selectAllChildren(button.parentElement.querySelector("pre"));
    label.textContent = say("Selected");
    return;
  }
  label.textContent = say("Copied");
  window.setTimeout(() => { label.textContent = say("Copy"); }, 1500);
}

/** Show a tab's panel; pages that remember keep it in the address. */
export function openTab(tab) {
  const frame = tab.closest("[data-tabs]");
  for (const other of tab.parentElement.querySelectorAll('[role="tab"]')) {
    const chosen = other === tab;
    other.setAttribute("aria-selected", String(chosen));
    other.tabIndex = chosen ? 0 : -1;
    document.getElementById(other.getAttribute("aria-controls")).hidden = !chosen;
  }
  if (frame?.dataset.remember !== undefined) window.history.replaceState(null, "", `#${tab.id.replace("tab-", "")}`);
  tab.dispatchEvent(new CustomEvent("tab-open", { bubbles: true, detail: tab.id }));
}

function sortBy(button) {
  const heading = button.closest("th");
  const body = heading.closest("table").tBodies[0];
  const place = heading.cellIndex;
  const up = heading.getAttribute("aria-sort") !== "ascending";
  for (const other of heading.parentElement.cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", up ? "ascending" : "descending");
  const key = (row) => row.cells[place].dataset.value ?? row.cells[place].textContent.trim();
  const order = (a, b) => (a === "" ? 1 : b === "" ? -1 : Number(a) - Number(b) || String(a).localeCompare(String(b)));
  [...body.rows].sort((a, b) => (up ? 1 : -1) * order(key(a), key(b))).forEach((row) => body.append(row));
}

const remembered = document.querySelector("[data-remember]") && window.location.hash.slice(1);
if (remembered && /^[a-z]+$/.test(remembered)) {
  const tab = document.getElementById(`tab-${remembered}`);
  if (tab) openTab(tab);
}

for (const key of document.querySelectorAll("[data-keyed] [data-key]")) {
  key.value = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
