// Curves: smoothed over the measured ones, with a shared cursor, and zoom by dragging.
import uPlot from "./vendor/uPlot.esm.js";
import { number, say, size } from "./texts.js";

/** What is drawn together, and how its values are written. */
export const PLOTS = [
  { title: "Loss", names: ["loss"], validation: "loss" },
  { title: "Rewards", names: ["rewards_chosen", "rewards_rejected", "rewards_margin"] },
  { title: "Reward accuracy", names: ["rewards_accuracy"], validation: "accuracy" },
  { title: "Log-probabilities", names: ["logps_chosen", "logps_rejected"] },
  { title: "Gradient norm", names: ["grad_norm"] },
  { title: "Learning rate", names: ["learning_rate"] },
  { title: "Tokens per second", names: ["tokens_per_second"] },
  { title: "Peak memory", names: ["peak_memory_bytes"], write: size },
];
const LABELS = {
  loss: "loss", rewards_chosen: "chosen", rewards_rejected: "rejected", rewards_margin: "margin", rewards_accuracy: "accuracy",
  logps_chosen: "chosen", logps_rejected: "rejected", grad_norm: "norm", learning_rate: "rate", tokens_per_second: "tokens/s",
  peak_memory_bytes: "memory",
};
const HEIGHT = 208;

/** An exponential moving average without the pull towards zero at the beginning. */
export function smooth(values, weight) {
  if (!weight) return values;
  let sum = 0;
  let share = 0;
  return values.map((value) => {
    if (value === null || value === undefined) return value;
    sum = weight * sum + (1 - weight) * value;
    share = weight * share + (1 - weight);
    return sum / share;
  });
}

/** The colour with that number in the theme of the page. */
export function colour(place) {
  return property(`--series-${(place % 8) + 1}`);
}

function property(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

export function label(name) {
  return say(LABELS[name] ?? name);
}

/** A curve's colour as it looks in the plot. */
function tint(curve) {
  return curve?.faint ? `color-mix(in srgb, ${curve.colour} 30%, transparent)` : curve?.colour;
}

/** Whether a curve has a single point, which no line shows. */
function isAlone(values) {
  return values.filter((value) => value !== null && value !== undefined).length === 1;
}

/** One chart in a frame of its own; `set` gives it new curves. */
export class Plot {
  constructor(parent, title, { write = number, onZoom, group } = {}) {
    this.frame = document.createElement("section");
    this.frame.className = "plot";
    const head = document.createElement("header");
    const name = document.createElement("h3");
    name.textContent = say(title);
    const save = document.createElement("button");
    save.type = "button";
    save.className = "button quiet little";
    save.textContent = "PNG";
    save.setAttribute("aria-label", say("Save %(name)s as PNG", { name: say(title) }));
    save.addEventListener("click", () => this.save(title));
    head.append(name, save);
    this.place = document.createElement("div");
    this.frame.append(head, this.place);
    parent.append(this.frame);
    Object.assign(this, { write, onZoom, group, shape: "" });
  }

  /** Look how wide it is. Done for all plots before the first is drawn, the page is laid out once and not for each. */
  measure() {
    this.wide = Math.max(200, this.frame.clientWidth - 26);
    return this;
  }

  /** `curves`: [{label, values, colour, faint, dots}] over the common `steps`. */
  set(steps, curves) {
    const shape = curves.map((curve) => `${curve.label}${curve.colour}${curve.faint}`).join();
    const data = [steps, ...curves.map((curve) => curve.values)];
    if (this.chart && this.shape === shape) { this.chart.setData(data); return; }
    this.chart?.destroy();
    this.shape = shape;
    this.chart = new uPlot(this.options(curves), data, this.place);
    this.watch ??= this.follow();
  }

  options(curves) {
    const [ink, line] = [property("--soft"), property("--line")];
    const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 }, font: "11px system-ui" };
    return {
      width: this.wide ?? this.measure().wide, height: HEIGHT,
      cursor: { sync: { key: this.group ?? "steps" }, drag: { x: true, y: false, setScale: false } },
      scales: { x: { time: false } },
      axes: [{ ...axis, size: 36 }, { ...axis, size: 62, values: (chart, ticks) => ticks.map((tick) => this.write(tick)) }],
      legend: { live: true, markers: { stroke: (chart, place) => tint(curves[place - 1]) } },
      series: [{ label: say("step"), value: (chart, value) => number(value, 0) }, ...curves.map((curve) => ({
        label: curve.label, stroke: curve.colour, width: curve.faint ? 1 : 2, alpha: curve.faint ? 0.3 : 1, spanGaps: true,
        points: { show: (chart, place) => Boolean(curve.dots) || isAlone(chart.data[place]), size: 7 }, paths: curve.dots ? () => null : undefined,
        value: (chart, value) => (value === null || value === undefined ? "–" : this.write(value)),
      }))],
      hooks: { setSelect: [(chart) => this.zoom(chart)] },
    };
  }

  zoom(chart) {
    if (chart.select.width < 8) return;
    const ends = [chart.select.left, chart.select.left + chart.select.width].map((x) => chart.posToVal(x, "x"));
    chart.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
    this.onZoom?.(Math.floor(ends[0]), Math.ceil(ends[1]));
  }

  follow() {
    const observer = new ResizeObserver(() => {
      const known = this.wide;
      if (this.frame.clientWidth && this.chart && this.measure().wide !== known) this.chart.setSize({ width: this.wide, height: HEIGHT });
    });
    observer.observe(this.frame);
    return observer;
  }

  save(title) {
    this.chart?.root.querySelector("canvas").toBlob((blob) => {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(blob);
      link.download = `${title}.png`;
      link.click();
      URL.revokeObjectURL(link.href);
    });
  }
}
