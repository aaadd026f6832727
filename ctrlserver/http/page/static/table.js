// A table in the page. Cells are changed in place, so that focus, selection and a screen reader stay where they are.

import { IDENTITIES, isTime, label, text } from "./format.js";

const setText = (element, value) => {
  if (element.textContent !== value) element.textContent = value;
};

const isNumber = (value) => typeof value === "number";

// As many children of a kind as are needed.
const childrenOf = (parent, kind, count) => {
  while (parent.children.length > count) parent.lastElementChild.remove();
  while (parent.children.length < count) parent.append(document.createElement(kind));
  return parent.children;
};

// Whether a column is of numbers, which stand right.
const areNumbers = (field, rows, at) =>
  !IDENTITIES.has(field) && rows.some((row) => isNumber(row[at])) && !rows.some((row) => typeof row[at] === "string");

// `columns` are [field, name] pairs and `rows` arrays of values. `sort`: { field, down, choose } where it can be chosen.
export const fill = (table, columns, rows, none, sort) => {
  const heads = childrenOf(childrenOf(table.tHead, "tr", 1)[0], "th", columns.length);
  const numeric = columns.map(([field], at) => areNumbers(field, rows, at));
  columns.forEach(([field, name], at) => {
    const head = heads[at];
    head.scope = "col";
    head.className = numeric[at] ? "number" : "";
    if (!sort) {
      setText(head, label(field, name));
      return;
    }
    if (!head.firstElementChild) {
      head.append(document.createElement("button"));
      head.firstElementChild.type = "button";
    }
    const button = head.firstElementChild;
    setText(button, label(field, name));
    button.onclick = () => sort.choose(field);
    head.ariaSort = sort.field === field ? (sort.down ? "descending" : "ascending") : "none";
  });
  const body = table.tBodies[0];
  if (!rows.length) {
    const [row] = childrenOf(body, "tr", 1);
    const [cell] = childrenOf(row, "td", 1);
    cell.colSpan = Math.max(1, columns.length);
    cell.className = "none";
    setText(cell, none);
    return;
  }
  const lines = childrenOf(body, "tr", rows.length);
  rows.forEach((row, line) => {
    const cells = childrenOf(lines[line], "td", columns.length);
    columns.forEach(([field], at) => {
      const cell = cells[at];
      const value = row[at];
      const shown = text(field, value);
      cell.colSpan = 1;
      cell.className = numeric[at] ? "number" : shown.length > 30 ? "long" : "";
      setText(cell, shown);
      const whole = value === null || (String(value) === shown && shown.length <= 30) ? "" : String(value);
      if (cell.title !== whole && (isTime(value) || shown.length > 30 || isNumber(value))) cell.title = whole;
    });
  });
};

// A table of a document, in the section of this id, without columns of which no row knows a value; the count says where
// it is not all.
export const show = (id, table, none) => {
  const section = document.getElementById(id);
  const known = table.fields.map((_, at) => at).filter((at) => table.rows.some((row) => row[at] !== null));
  const columns = known.map((at) => [table.fields[at], table.names[at]]);
  const rows = table.rows.map((row) => known.map((at) => row[at]));
  fill(section.querySelector("table"), columns, rows, none);
  const cut = table.rows.length < table.total;
  setText(section.querySelector(".count"), cut ? `The first ${table.rows.length} of ${table.total}.` : "");
};
