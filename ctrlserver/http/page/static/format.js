// Values as a person reads them. What a field is follows from its name, as in the docs of the admin protocol.

const NONE = "–";
const PREFIXES = ["", "k", "M", "G", "T", "P"];
const LABELS = {
  packets_per_second: "packets/s",
  bits_per_second: "bit/s",
  now_packets: "packets/s now",
  now_bits: "bit/s now",
  streams_open: "streams open",
  packets_total: "packets in all",
  bytes_total: "bytes in all",
  rejected_total: "rejected in all",
  loop_lag_seconds: "loop lag",
  memory_bytes: "memory held",
  delay_p50_seconds: "delay p50",
  delay_p99_seconds: "delay p99",
  rtt_seconds: "round trip",
};

// Numbers that only name something.
export const IDENTITIES = new Set(["stream", "run", "injection", "worker", "pid", "seed"]);

export const grouped = (number, digits = 0) =>
  number.toLocaleString("en", { maximumFractionDigits: digits }).replaceAll(",", "\u202f");

const scaled = (number, unit) => {
  let power = 0;
  while (Math.abs(number) >= 999.5 && power < PREFIXES.length - 1) {
    number /= 1000;
    power += 1;
  }
  const digits = power === 0 ? 1 : Math.abs(number) >= 100 ? 0 : Math.abs(number) >= 10 ? 1 : 2;
  return `${number.toFixed(digits).replace(/\.0$/, "")} ${PREFIXES[power]}${unit}`;
};

const seconds = (number) => {
  const size = Math.abs(number);
  if (size === 0) return "0 s";
  if (size < 1e-3) return `${(number * 1e6).toFixed(0)} µs`;
  if (size < 1) return `${(number * 1e3).toPrecision(3)} ms`;
  if (size < 120) return `${number.toFixed(1)} s`;
  const whole = Math.round(number);
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return hours ? `${grouped(hours)} h ${minutes} min` : `${minutes} min ${whole % 60} s`;
};

// A field's name as published; where it has its own, in words.
export const label = (field, name = field) =>
  name === field ? (LABELS[field] ?? field.replace(/_(seconds|total|bytes)$/, "").replaceAll("_", " ")) : name;

export const isTime = (value) => typeof value === "string" && /^\d{4}-\d\d-\d\dT[\d:.]+Z$/.test(value);

const when = (value) => {
  const date = new Date(value);
  const clock = date.toLocaleTimeString("en-GB");
  return date.toDateString() === new Date().toDateString() ? clock : `${date.toLocaleDateString("en-CA")} ${clock}`;
};

export const text = (field, value) => {
  if (value === null || value === undefined) return NONE;
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (isTime(value)) return when(value);
  if (typeof value !== "number" || IDENTITIES.has(field)) return String(value);
  if (/_seconds$|^seconds$/.test(field)) return seconds(value);
  if (/bits/.test(field)) return scaled(value, "bit/s");
  if (/bytes/.test(field)) return scaled(value, "B");
  if (field === "share") return `${(value * 100).toFixed(0)} %`;
  return grouped(value, Number.isInteger(value) || Math.abs(value) >= 100 ? 0 : 1);
};

// The rows of a table of a document, each an object by the fields' own names.
export const records = (table) =>
  table.rows.map((row) => Object.fromEntries(table.fields.map((field, at) => [field, row[at]])));
