// A job's page while it is open: asks every few seconds what is new, and changes only what changed.
import { JobCurves } from "./job-curves.js";
import { JobLog } from "./job-log.js";
import { ask } from "./requests.js";

const root = document.querySelector("[data-job]");
const address = `/console/jobs/${root.dataset.job}`;
const [BUSY, QUIET] = [2000, 10000];
const shown = new Map();
const curves = root.querySelector("[data-plots]") ? new JobCurves(root, address) : null; // only training has steps
const log = new JobLog(root, address);
let event = Number(root.dataset.event);
let state = "";

function isOpen(name) {
  return document.getElementById(`panel-${name}`)?.hidden === false;
}

function put(id, html, force) {
  const place = document.getElementById(id);
  if (!place || shown.get(id) === html) return;
  // whoever is about to press a button in there must not lose it
  if (!force && place.contains(document.activeElement)) return;
  shown.set(id, html);
  place.innerHTML = html;
}

async function look() {
  const news = await ask(`${address}/news?event=${event}`);
  const turned = news.state !== state;
  state = news.state;
  for (const [id, html] of Object.entries(news.parts)) put(id, html, turned);
  if (news.events) document.getElementById("job-events").insertAdjacentHTML("beforeend", news.events);
  event = news.event;
  if (isOpen("curves")) await curves.update(news.generation, news.lines);
  if (isOpen("log")) await log.grow(news.log_size);
  return news;
}

async function follow() {
  let pause = BUSY;
  if (!document.hidden) {
    try {
      const news = await look();
      if (news.over) return;
      if (["queued", "paused"].includes(news.state)) pause = QUIET / 2;
    } catch (error) {
      // the server may be starting again; the next look will tell
      pause = QUIET;
    }
  }
  window.setTimeout(follow, pause);
}

document.addEventListener("tab-open", ({ detail }) => {
  if (detail === "tab-curves") curves.load();
  if (detail === "tab-log") log.open();
});
if (isOpen("log")) log.open();
if (isOpen("curves")) curves.load();
if (root.dataset.over === "false") window.setTimeout(follow, BUSY);
