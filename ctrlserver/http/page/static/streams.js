// The table of streams: found, sorted and paged here while the document has them all, by the server where there are more.

import { grouped, label, records } from "./format.js";
import { fill } from "./table.js";

const PAGE = 25;
const PAUSE = 2000;
const LEAST = 0.5; // seconds between two looks that make a rate
const MOST = 1000; // streams that are kept in mind
const FOUND_IN = ["listener", "peer", "protocol", "mode", "state", "reason"];
const NOW = ["now_packets", "now_bits"];
const MEAN = ["packets_per_second", "bits_per_second"]; // of a stream's whole life

const section = document.getElementById("streams");
const find = document.getElementById("find");
const state = document.getElementById("state");
const [before, place, after] = ["before", "place", "after"].map((id) => document.getElementById(id));

const wish = { field: "now_bits", down: true, offset: 0 };
let table = { fields: [], names: [], rows: [], total: 0 };
let rows = []; // of the document
let answer = null; // of the server, shown until the next one: { rows, total, offset }
const counted = { document: new Map(), answer: new Map() }; // of each stream: what it had counted, and when
let asked = 0;

const isCut = () => table.rows.length < table.total;
const isDefault = () => wish.field === "now_bits" && wish.down && !find.value && !state.value;
const isAsked = () => isCut() && !isDefault();

// What each stream brought between two looks at it, at the time of the server or ours, but not of both.
const withRates = (found, at, from) => {
  if (counted[from].size > MOST) counted[from] = new Map([...counted[from]].slice(-MOST / 2));
  return found.map((row) => rated(row, at, counted[from]));
};

const rated = (row, at, seen) => {
  const last = seen.get(row.stream);
  const seconds = last ? (at - last.at) / 1000 : 0;
  let rates = last?.rates ?? [null, null];
  if (seconds >= LEAST) {
    const grown = [row.packets - last.packets, (row.bytes - last.bytes) * 8];
    rates = grown.map((by) => Math.max(0, by) / seconds);
  }
  if (!last || seconds >= LEAST) seen.set(row.stream, { at, packets: row.packets, bytes: row.bytes, rates });
  [row.now_packets, row.now_bits] = row.state === "closed" ? [0, 0] : rates;
  return row;
};

const compare = (one, other) => {
  const [a, b] = [one[wish.field] ?? null, other[wish.field] ?? null];
  if (a === null || b === null) return (a === null) - (b === null) || other.stream - one.stream;
  const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
  return (wish.down ? -order : order) || other.stream - one.stream;
};

const chosen = () => {
  const wanted = find.value.toLowerCase();
  return rows
    .filter((row) => !state.value || row.state === state.value)
    .filter((row) =>
      FOUND_IN.some((field) =>
        String(row[field] ?? "")
          .toLowerCase()
          .includes(wanted),
      ),
    )
    .sort(compare);
};

const columns = () => {
  const pairs = table.fields.map((field, at) => [field, table.names[at]]);
  for (const pair of pairs) if (MEAN.includes(pair[0]) && pair[0] === pair[1]) pair[1] = `mean ${label(pair[0])}`;
  const at = pairs.findIndex(([field]) => field === "packets");
  pairs.splice(at < 0 ? pairs.length : at, 0, ...NOW.map((field) => [field, field]));
  return pairs;
};

const draw = () => {
  const all = isAsked() ? null : chosen();
  const total = all ? all.length : (answer?.total ?? 0);
  wish.offset = Math.max(0, Math.min(wish.offset, Math.ceil(total / PAGE) * PAGE - PAGE));
  const offset = all ? wish.offset : (answer?.offset ?? 0);
  const shown = all ? all.slice(offset, offset + PAGE) : (answer?.rows ?? []);
  const pairs = rows.length ? columns() : [];
  const none =
    isAsked() && !answer ? "asking the server" : find.value || state.value ? "no such stream" : "no streams yet";
  const cells = shown.map((row) => pairs.map(([field]) => row[field] ?? null));
  fill(section.querySelector("table"), pairs, cells, none, { ...wish, choose });
  const whole = all && isCut() ? `the ${total} fastest, ${grouped(table.total)} in all` : grouped(total);
  const said = shown.length ? `${offset + 1} to ${offset + shown.length} of ${whole}` : none;
  if (place.textContent !== said) place.textContent = said;
  before.disabled = wish.offset === 0;
  after.disabled = wish.offset + PAGE >= total;
};

// Names of the records as they are published, and back.
const published = (field) => table.names[table.fields.indexOf(field)] ?? field;

const ask = async () => {
  if (NOW.includes(wish.field)) wish.field = `${wish.field.slice(4)}_per_second`; // the server knows no other rate
  const { field, offset } = wish;
  const largestFirst = typeof rows[0]?.[field] !== "string";
  const query = new URLSearchParams({ limit: PAGE, offset });
  query.set("sort", (wish.down === largestFirst ? "" : "-") + published(field));
  if (find.value) query.set("find", find.value);
  if (state.value) query.set("state", state.value);
  const mine = performance.now();
  asked = mine;
  try {
    const reply = await fetch(`/streams.json?${query}`);
    const found = reply.ok ? await reply.json() : { data: [], total: 0 };
    if (mine !== asked) return;
    const own = found.data.map((row) => Object.fromEntries(table.fields.map((name) => [name, row[published(name)]])));
    answer = { rows: withRates(own, mine, "answer"), total: found.total, offset };
    draw();
  } catch {
    // The connection is lost: the page says so, and asks again when it is back.
  }
};

const changed = () => {
  if (isAsked()) ask();
  else answer = null;
  draw();
};

const choose = (field) => {
  wish.down = wish.field === field ? !wish.down : typeof rows.find((row) => row[field] !== null)?.[field] !== "string";
  wish.field = field;
  wish.offset = 0;
  changed();
};

const turn = (pages) => {
  wish.offset = Math.max(0, wish.offset + pages * PAGE);
  changed();
};

export const showStreams = (document) => {
  table = document.streams;
  rows = withRates(records(table), Date.parse(document.time), "document");
  if (isAsked() && performance.now() - asked > PAUSE) ask();
  draw();
};

before.onclick = () => turn(-1);
after.onclick = () => turn(1);
find.oninput = state.oninput = () => {
  wish.offset = 0;
  changed();
};
document.getElementById("wish").onsubmit = (event) => event.preventDefault();
