// A job's page while it is open: asks every few seconds what is new, and changes only what changed.
import { isAsking } from "./app.js";
import { JobCurves } from "./job-curves.js";
import { JobLog } from "./job-log.js";
import { ask } from "./requests.js";

const root = document.querySelector("[data-job]");
const address = `/console/jobs/${root.dataset.job}`;
const [BUSY, QUIET] = [2000, 10000];
const [shown, latest] = [new Map(), new Map()];
const curves = root.querySelector("[data-plots]") ? new JobCurves(root, address) : null; // only training has steps
const log = new JobLog(root, address);
let event = Number(root.dataset.event);
let { seen } = root.dataset;
let size = Number(root.dataset.logSize);
let state = "";

function isOpen(name) {
  return document.getElementById(`panel-${name}`)?.hidden === false;
}

function put(id, html, force) {
  const place = document.getElementById(id);
  if (!place || shown.get(id) === html || isAsking()) return;
  // whoever is about to press a button in there must not lose it
  if (!force && place.contains(document.activeElement)) return;
  shown.set(id, html);
  place.innerHTML = html;
}

async function look() {
  const news = await ask(`${address}/news?event=${event}&seen=${seen}`);
  const turned = news !== null && news.state !== state;
  for (const [id, html] of Object.entries(news?.parts ?? {})) latest.set(id, html);
  for (const [id, html] of latest) put(id, html, turned);
  if (news === null) return false;
  if (news.events) document.getElementById("job-events").insertAdjacentHTML("beforeend", news.events);
  ({ state, event, seen, log_size: size } = news);
  if (isOpen("curves")) await curves.update(news.curves, news.lines, turned);
  if (isOpen("log")) await log.grow(size);
  return news.over;
}

async function follow() {
  let pause = BUSY;
  if (!document.hidden) {
    try {
      if (await look()) return;
      if (["queued", "paused"].includes(state)) pause = QUIET / 2;
    } catch (error) {
      // the server may be starting again; the next look will tell
      pause = QUIET;
    }
  }
  window.setTimeout(follow, pause);
}

document.addEventListener("tab-open", ({ detail }) => {
  if (detail === "tab-curves") curves.load();
  if (detail === "tab-log") log.grow(size);
});
if (isOpen("log")) log.open();
if (isOpen("curves")) curves.load();
if (root.dataset.over === "false") window.setTimeout(follow, BUSY);
