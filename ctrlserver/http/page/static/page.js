// The live page: each document of the server goes to the parts of the page. Texts of strangers become text, never HTML.

import { addNow, addPast, drawWith, forget } from "./charts.js";
import { label, records, text } from "./format.js";
import { follow } from "./link.js";
import { showStreams } from "./streams.js";
import { fill, show } from "./table.js";

const FIGURES = [
  "packets_per_second",
  "bits_per_second",
  "streams_open",
  "packets_total",
  "bytes_total",
  "rejected_total",
  "loop_lag_seconds",
  "memory_bytes",
];
const [FEW_RUNS, MANY_RUNS] = [20, 200];

const byId = (id) => document.getElementById(id);
let instance = null;
let past = [];
let older = { data: [], total: 0 }; // runs that the server gave when we asked
let newest = null; // the newest run by then
let manyRuns = FEW_RUNS;

const say = (id, value, kind) => {
  const element = byId(id);
  if (element.textContent !== value) element.textContent = value;
  element.className = `chip ${kind}`;
};

const showFigures = (stats, names) => {
  const list = byId("figures");
  for (const field of FIGURES) {
    let entry = list.querySelector(`[data-field="${field}"]`);
    if (!entry) {
      entry = document.createElement("div");
      entry.dataset.field = field;
      entry.append(document.createElement("dt"), document.createElement("dd"));
      list.append(entry);
    }
    entry.firstElementChild.textContent = label(field, names[field]);
    entry.lastElementChild.textContent = text(field, stats[field]);
    entry.lastElementChild.title = String(stats[field]);
  }
  document.title = `${text("packets", stats.packets_per_second)}/s · ctrlserver`;
};

const runSummary = (run) => {
  if (!run) return "No run since the server started: one begins with the first data.";
  const name = run.name ? ` “\u2068${run.name}\u2069”` : ""; // isolated: it may run from right to left
  const expected =
    (run.expected_packets ?? null) === null ? "" : ` of ${text("packets", run.expected_packets)} expected`;
  const packets = `${text("packets", run.packets)} packets${expected}`;
  const rate = (run.packets_per_second ?? null) === null ? "" : `, ${text("rate", run.packets_per_second)} packets/s`;
  const bits = (run.bits_per_second ?? null) === null ? "" : `, ${text("bits", run.bits_per_second)}`;
  return `Run ${run.run}${name}, ${run.state}: ${packets} in ${text("seconds", run.seconds)}${rate}${bits}.`;
};

// The runs of earlier starts, and those of this one that the document has no more; asked for when a run begins.
const askForRuns = async () => {
  try {
    const reply = await fetch(`/runs.json?limit=${manyRuns}`);
    if (reply.ok) older = await reply.json();
  } catch {
    // The connection is lost: the page says so, and its next document has us ask again.
    newest = null;
  }
};

const showRuns = (table) => {
  const [first] = records(table);
  if (newest !== (first?.run ?? 0)) {
    newest = first?.run ?? 0;
    askForRuns();
  }
  const summary = runSummary(first);
  if (byId("run").textContent !== summary) byId("run").textContent = summary;
  const seen = new Set(table.rows.map((row) => row[0]));
  const rows = older.data.map((row) => table.names.map((name) => row[name] ?? null)).filter((row) => !seen.has(row[0]));
  const all = { ...table, rows: [...table.rows, ...rows], total: Math.max(table.total, older.total) };
  show("runs", all, "no run yet");
  byId("more-runs").hidden = all.rows.length >= all.total || manyRuns > FEW_RUNS;
};

byId("more-runs").onclick = () => {
  manyRuns = MANY_RUNS;
  askForRuns();
};

const showStats = (table) => {
  const rows = table.fields.map((field, at) => [table.names[at], text(field, table.rows[0][at])]);
  if (byId("stats").open)
    fill(
      byId("stats").querySelector("table"),
      [
        ["figure", "figure"],
        ["value", "value"],
      ],
      rows,
      "",
    );
};

const showSnapshot = (seen) => {
  const [stats] = records(seen.stats);
  const names = Object.fromEntries(seen.stats.fields.map((field, at) => [field, seen.stats.names[at]]));
  const streams = Object.fromEntries(seen.streams.fields.map((field, at) => [field, seen.streams.names[at]]));
  if (instance !== seen.instance) {
    if (instance !== null) forget();
    instance = seen.instance;
    older = { data: [], total: 0 };
    newest = null;
  }
  const time = Date.parse(seen.time);
  addPast(past, time);
  past = [];
  addNow(time, stats, seen.latency, { ...streams, ...names });
  byId("version").textContent = seen.version;
  say("health", seen.ready ? "ready" : `not ready: ${seen.reasons.join(", ")}`, seen.ready ? "good" : "bad");
  showFigures(stats, names);
  showStreams(seen);
  showRuns(seen.runs);
  show("listeners", seen.listeners, "no listeners");
  show("injections", seen.injections, "none in force");
  byId("workers").hidden = seen.workers === null;
  if (seen.workers !== null) show("workers", seen.workers, "no workers");
  showStats(seen.stats);
  drawWith(seen.charts);
};

follow({
  past: (seconds) => {
    past = seconds;
  },
  snapshot: showSnapshot,
  state: (state) => {
    const live = state === "live";
    say("link", live ? "live" : "connection lost, trying again", live ? "good" : "bad");
    document.body.classList.toggle("stale", !live);
    if (!live) {
      say("health", "not known", "");
      document.title = "lost · ctrlserver";
    }
  },
});
