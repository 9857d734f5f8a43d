// The curves of one job: loaded thinned to the width of the screen, and in full where one looks closer.
import { colour, label, Plot, PLOTS, smooth } from "./plots.js";
import { ask } from "./requests.js";
import { number, say } from "./texts.js";

const POINTS = 1600;
// of so many steps one more moves no point of the curve by a pixel
const FINEST = 400;

export class JobCurves {
  constructor(root, address) {
    this.address = address;
    this.place = root.querySelector("[data-plots]");
    this.none = root.querySelector("[data-no-curves]");
    this.points = root.querySelector("[data-points]");
    this.all = root.querySelector("[data-unzoom]");
    this.smoothing = root.querySelector("[data-smoothing]");
    this.plots = new Map();
    this.range = null;
    this.smoothing.addEventListener("input", () => this.draw());
    this.all.addEventListener("click", () => this.look(null));
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  async update(mark, lines, turned) {
    const [generation, , evaluations] = mark.split(".");
    const [knownGeneration, , knownEvaluations] = (this.data?.mark ?? "").split(".");
    const grown = lines - (this.data?.total ?? 0);
    const other = generation !== knownGeneration || evaluations !== knownEvaluations;
    if (other || turned || grown * FINEST > lines) await this.load();
  }

  async look(range) {
    this.range = range;
    this.all.hidden = range === null;
    await this.load();
  }

  async load() {
    const query = new URLSearchParams({ points: POINTS });
    if (this.range) { query.set("first", this.range[0]); query.set("last", this.range[1]); }
    this.data = await ask(`${this.address}/series?${query}`);
    this.draw();
  }

  draw() {
    const { data } = this;
    if (!data) return;
    this.none.hidden = data.total > 0;
    this.place.hidden = data.total === 0;
    const text = data.exact ? "%(total)s steps" : "%(shown)s points of %(total)s steps; drag to look closer";
    this.points.textContent = data.total ? say(text, { shown: number(data.steps.length, 0), total: number(data.total, 0) }) : "";
    const named = PLOTS.map((plan) => [plan, plan.names.filter((name) => data.values[name])]).filter(([, names]) => names.length);
    const ready = named.map(([plan, names]) => [this.plot(plan), this.curves(plan, names)]);
    for (const [plot] of ready) plot.measure();
    for (const [plot, curves] of ready) plot.set(...curves);
  }

  plot(plan) {
    if (!this.plots.has(plan.title)) {
      const onZoom = (first, last) => this.look([first, last]);
      this.plots.set(plan.title, new Plot(this.place, plan.title, { write: plan.write, onZoom }));
    }
    return this.plots.get(plan.title);
  }

  curves(plan, names) {
    const weight = Number(this.smoothing.value);
    let steps = this.data.steps;
    const found = plan.validation ? this.data.evaluations.filter((one) => this.inside(one.step) && one[plan.validation] !== null) : [];
    if (found.length) steps = [...new Set([...steps, ...found.map((one) => one.step)])].sort((a, b) => a - b);
    const spread = (values) => {
      if (steps === this.data.steps) return values;
      const known = new Map(this.data.steps.map((step, place) => [step, values[place]]));
      return steps.map((step) => known.get(step) ?? null);
    };
    const drawn = names.flatMap((name, place) => {
      const values = spread(this.data.values[name]);
      const main = { label: label(name), values: smooth(values, weight), colour: colour(place) };
      return weight && names.length === 1 ? [{ label: say("measured"), values, colour: colour(place), faint: true }, main] : [main];
    });
    if (found.length) {
      const known = new Map(found.map((one) => [one.step, one[plan.validation]]));
      drawn.push({ label: say("validation"), values: steps.map((step) => known.get(step) ?? null), colour: colour(3), dots: true });
    }
    return [steps, drawn];
  }

  inside(step) {
    return !this.range || (step >= this.range[0] && step <= this.range[1]);
  }
}
