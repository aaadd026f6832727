// Rate, bits and latency over the last five minutes, by plotly where the server has it, and as a table for everybody.

import { label, text } from "./format.js";
import { fill } from "./table.js";

const SPAN = 300_000;
const LEAST = 60_000;
const LONG = 150_000; // then the seconds are left out below the chart
const GAP = 3000;
const LATENCY = ["delay_p50_seconds", "delay_p99_seconds", "rtt_seconds"];
const LINES = [
  { id: "packets-chart", scale: 1, fields: ["packets_per_second"] },
  { id: "bits-chart", scale: 1, fields: ["bits_per_second"] },
  { id: "latency-chart", scale: 1000, fields: LATENCY },
];
const COLORS = ["--first", "--second", "--third"];

let points = []; // { at, packets_per_second, ... } by the server's clock, oldest first
let names = {};
let library = null; // asked for: its address
let last = 0;

export const forget = () => {
  points = [];
};

const add = (point) => {
  if (points.length && point.at <= points.at(-1).at) return;
  points.push(point);
  while (points[0].at < point.at - SPAN) points.shift();
};

// What came before we listened: [seconds before the document, packets/s, bits/s].
export const addPast = (past, time) => {
  for (const [before, packets_per_second, bits_per_second] of past) {
    const at = time + before * 1000;
    if (at < time - 500) add({ at, packets_per_second, bits_per_second });
  }
};

export const addNow = (time, stats, latency, renamed) => {
  names = renamed;
  const { packets_per_second, bits_per_second } = stats;
  add({ at: time, packets_per_second, bits_per_second, ...latency });
};

// The library adds a style for maps as it begins, which we do not draw, and which the page's policy would refuse.
const load = (address) => {
  library = address;
  const { head } = document;
  const script = document.createElement("script");
  script.src = address;
  head.append(script);
  head.appendChild = (node) => (node.localName === "style" ? node : Node.prototype.appendChild.call(head, node));
  script.onload = script.onerror = () => {
    delete head.appendChild;
    if (!window.Plotly) without();
    draw();
  };
};

const without = () => {
  document.getElementById("no-charts").hidden = false;
  document.getElementById("seconds").open = true;
};

// A point for each second, and nothing where none was heard, which breaks the line.
const series = (field, scale) => {
  const [x, y] = [[], []];
  let before = null;
  for (const point of points) {
    if (before !== null && point.at - before > GAP) {
      x.push(new Date(before + 1));
      y.push(null);
    }
    x.push(new Date(point.at));
    const value = point[field] ?? null;
    y.push(value === null ? null : value * scale);
    before = point.at;
  }
  return { x, y };
};

const known = (fields) => fields.filter((field) => points.some((point) => (point[field] ?? null) !== null));

const drawOne = ({ id, scale, fields }) => {
  const holder = document.getElementById(id);
  const shown = known(fields);
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(name).trim();
  const traces = shown.map((field, at) => ({
    ...series(field, scale),
    name: label(field, names[field]),
    type: "scatter",
    mode: "lines",
    line: { color: color(COLORS[fields.length > 1 ? at : LINES.findIndex((each) => each.id === id)]), width: 2 },
    hovertemplate: "%{y:.4s} %{x|%H:%M:%S}",
  }));
  const end = points.at(-1).at;
  const begin = Math.max(end - SPAN, Math.min(points[0].at, end - LEAST));
  const axis = { color: color("--quiet"), gridcolor: color("--line"), zeroline: false, fixedrange: true };
  const layout = {
    margin: { l: 52, r: 8, t: 8, b: 28 },
    width: holder.clientWidth,
    height: holder.clientHeight,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: "system-ui, sans-serif", size: 12, color: color("--quiet") },
    showlegend: shown.length > 1,
    legend: { orientation: "h", y: 1.15 },
    xaxis: {
      ...axis,
      range: [new Date(begin), new Date(end)],
      tickformat: end - begin > LONG ? "%H:%M" : "%H:%M:%S",
      nticks: 5,
    },
    yaxis: { ...axis, rangemode: "tozero", exponentformat: "SI", nticks: 5, hoverformat: ".4s" },
  };
  window.Plotly.react(holder, traces, layout, { displayModeBar: false });
  const newest = shown.map((field) => `${label(field, names[field])} ${text(field, points.at(-1)[field])}`);
  holder.ariaLabel = `Line chart of the last minutes; now ${newest.join(", ")}`;
};

// All have their places before the first is drawn, for what is beside a chart makes it narrower.
const drawAll = () => {
  const shown = LINES.filter(({ id, fields }) => {
    const figure = document.getElementById(id).parentElement;
    figure.hidden = !known(fields).length;
    return !figure.hidden;
  });
  shown.forEach(drawOne);
};

export const draw = () => {
  if (points.length && !document.hidden) {
    const fields = ["packets_per_second", "bits_per_second", ...known(LATENCY)];
    const rows = points.slice(-10).reverse();
    const cells = rows.map((point) => [
      new Date(point.at).toISOString(),
      ...fields.map((field) => point[field] ?? null),
    ]);
    const columns = [["time", "time"], ...fields.map((field) => [field, names[field] ?? field])];
    fill(document.querySelector("#seconds table"), columns, cells, "nothing yet");
    if (window.Plotly) drawAll();
  }
};

// The library is asked for when there is something to draw, and once.
export const drawWith = (address) => {
  if (!address) {
    if (library === null) without();
  } else if (library === null) load(address);
  if (performance.now() - last > 900) {
    last = performance.now();
    draw();
  }
};

new ResizeObserver(() => requestAnimationFrame(draw)).observe(document.getElementById("charts"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
document.addEventListener("visibilitychange", draw);
