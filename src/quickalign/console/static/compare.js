// Curves of several jobs over one another.
import uPlot from "./vendor/uPlot.esm.js";
import { colour, Plot, PLOTS, smooth } from "./plots.js";
import { ask } from "./requests.js";

const jobs = [...document.querySelectorAll("[data-compared]")].map((cell) => ({ id: cell.dataset.compared, name: cell.dataset.name }));
const place = document.querySelector("[data-plots]");
const smoothing = document.querySelector("[data-smoothing]");
const COMPARED = ["loss", "rewards_accuracy", "rewards_margin", "logps_chosen", "grad_norm", "tokens_per_second"];
const TITLES = { rewards_margin: "Reward margin", logps_chosen: "Log-probability of chosen answers" };
const plots = new Map();

document.querySelectorAll("[data-compared]").forEach((cell, place) => {
  const swatch = document.createElement("span");
  swatch.className = "swatch";
  swatch.style.background = `var(--series-${(place % 8) + 1})`;
  cell.prepend(swatch);
});

function draw() {
  const weight = Number(smoothing.value);
  for (const name of COMPARED) {
    const having = jobs.filter((job) => job.series.values[name]);
    if (!having.length) continue;
    const title = TITLES[name] ?? PLOTS.find((plot) => plot.names[0] === name).title;
    if (!plots.has(name)) plots.set(name, new Plot(place, title));
    const joined = uPlot.join(having.map((job) => [job.series.steps, smooth(job.series.values[name], weight)]));
    plots.get(name).set(joined[0], having.map((job, index) => ({
      label: job.name, values: joined[index + 1], colour: colour(jobs.indexOf(job)),
    })));
  }
}

if (jobs.length) {
  await Promise.all(jobs.map(async (job) => { job.series = await ask(`/console/jobs/${job.id}/series?points=1200`); }));
  smoothing.addEventListener("input", draw);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  draw();
}
