// The drawings: what each island worked on, and every loss; as wide as the screen lets them be.

const COLOURS = ["#0b7a76", "#3d6fb0", "#b8871b", "#8a5aa8", "#5d8a3a", "#b0487a", "#3a93b5", "#946643"];
const BAD = new Set(["attempt-failed", "island-lost", "island-gone", "island-preempted", "trainer-stuck", "job-failed",
  "island-not-started", "checkpoint-doubted", "checkpoint-damaged", "job-crash-loop"]);
const ENDS = new Set([...BAD, "lease-released", "job-done"]);
ENDS.delete("trainer-stuck"); // its lease goes on until it is killed
const MOST_ROWS = 24, ROW = 24, TOP = 8;

export const isBad = (event) => BAD.has(event.kind);
export const colourOf = (index) => COLOURS[Math.max(0, index) % COLOURS.length];
export const clock = (at) => new Date(at * 1000).toLocaleTimeString("en-GB");

export function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function drawing(name, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function titled(shape, words) {
  shape.append(drawing("title", {}, words));
  return shape;
}

function cleared(picture, height) {
  const width = Math.max(280, Math.round(picture.clientWidth));
  picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
  picture.style.height = `${height}px`;
  picture.replaceChildren();
  return width;
}

export function leasesIn(events, now) {
  // What each island worked on, from a lease to its end. A lease recovers a job that was set back.
  const open = new Map(), setBack = new Map(), spans = [], marks = [];
  for (const event of events) {
    if (event.kind === "lease-granted") {
      const span = { island: event.island, job: event.job, epoch: event.epoch, from: event.at, to: null, number: event.number };
      span.recovers = setBack.get(event.job) || null;
      setBack.delete(event.job);
      open.set(event.island, span);
      spans.push(span);
    }
    if (isBad(event) && event.island) marks.push(event);
    const span = open.get(event.island);
    if (span && ENDS.has(event.kind)) {
      span.to = event.at;
      open.delete(event.island);
      if (isBad(event) && event.kind !== "job-failed") setBack.set(span.job, { island: span.island, at: event.at, words: event.reason });
    }
  }
  for (const span of open.values()) span.to = now;
  return { spans, marks };
}

const red = (x, y) => drawing("circle", { class: "mark", cx: x, cy: y, r: 5, fill: "var(--signal)", stroke: "var(--card)", "stroke-width": 1.5 });
const green = (x, y) => drawing("path", { class: "recovery", d: `M${x - 4},${y - 6} L${x + 6},${y} L${x - 4},${y + 6} Z`,
  fill: "var(--mended)", stroke: "var(--card)", "stroke-width": 1.5 });

export function drawTimeline(picture, leases, fleet) {
  const seen = [...new Set([...leases.spans, ...leases.marks].map((each) => each.island))];
  const islands = seen.slice(-MOST_ROWS), names = fleet.jobs.map((job) => job.name);
  const width = cleared(picture, Math.max(1, islands.length) * ROW + TOP + 24), left = 84;
  const low = islands.length * ROW + TOP;
  if (!islands.length) {
    picture.append(drawing("text", { x: 12, y: 28 }, "no island has worked yet"));
    return;
  }
  const shown = (each) => islands.includes(each.island);
  const spans = leases.spans.filter(shown), marks = leases.marks.filter(shown);
  const begin = Math.min(...spans.map((span) => span.from), ...marks.map((mark) => mark.at));
  const across = (at) => left + (width - left - 16) * Math.max(0, at - begin) / Math.max(1, fleet.now - begin);
  const middle = (island) => islands.indexOf(island) * ROW + TOP + ROW / 2;
  islands.forEach((island) => picture.append(
    drawing("line", { x1: left, x2: width - 16, y1: middle(island), y2: middle(island), stroke: "var(--rule)" }),
    drawing("text", { x: 8, y: middle(island) + 4 }, island)));
  for (const span of spans) {
    const bar = drawing("rect", { class: "span", x: across(span.from), y: middle(span.island) - 8, height: 16, rx: 2,
      width: Math.max(2, across(span.to) - across(span.from)), fill: colourOf(names.indexOf(span.job)) });
    picture.append(titled(bar, `${span.job} on ${span.island} under epoch ${span.epoch}, ${clock(span.from)} to ${clock(span.to)}`));
  }
  for (const span of spans.filter((each) => each.recovers)) {
    const x = across(span.from), y = middle(span.island), was = span.recovers;
    if (islands.includes(was.island) && was.island !== span.island) {
      const x0 = across(was.at), y0 = middle(was.island);
      picture.append(drawing("path", { d: `M${x0},${y0} C${x0},${(y0 + y) / 2} ${x},${(y0 + y) / 2} ${x},${y}`, fill: "none",
        stroke: "var(--mended)", "stroke-width": 1.5, "stroke-dasharray": "3 3" }));
    }
    const after = (span.from - was.at).toFixed(1);
    picture.append(titled(green(x, y), `${clock(span.from)} ${span.job} goes on on ${span.island}, ${after} s after ${was.words}`));
  }
  for (const mark of marks) picture.append(titled(red(across(mark.at), middle(mark.island)), `${clock(mark.at)} ${mark.kind}: ${mark.reason}`));
  picture.append(drawing("text", { x: left, y: low + 16 }, clock(begin)),
    drawing("text", { x: width - 16, y: low + 16, "text-anchor": "end" }, clock(fleet.now)));
  const recoveries = leases.spans.filter((span) => span.recovers).length;
  picture.setAttribute("aria-label", `What each of ${islands.length} islands worked on: ${leases.marks.length} failures or losses, ` +
    `${recoveries} recoveries`);
}

export function legendOf(fleet) {
  const entry = (shape, words) => {
    const made = element("span"), picture = drawing("svg", { viewBox: "0 0 14 14", "aria-hidden": "true" });
    picture.append(shape);
    made.append(picture, words);
    return made;
  };
  const jobs = fleet.jobs.map((job, index) => entry(drawing("rect", { y: 2, width: 12, height: 10, rx: 2, fill: colourOf(index) }), job.name));
  return [...jobs, entry(red(7, 7), "failure or loss"), entry(green(7, 7), "recovery: the job goes on")];
}

export function drawLosses(picture, losses, fleet) {
  const height = 256, left = 52, low = height - 24, width = cleared(picture, height), names = fleet.jobs.map((job) => job.name);
  const lines = Object.entries(losses).filter(([, points]) => points.length > 1);
  const all = lines.flatMap(([, points]) => points);
  if (!all.length) {
    picture.append(drawing("text", { x: 12, y: 28 }, "nothing was heard yet"));
    return;
  }
  const furthest = Math.max(...all.map((point) => point[0]));
  const sorted = all.map((point) => point[1]).sort((a, b) => a - b);
  const top = sorted[Math.floor(0.98 * (sorted.length - 1))] * 1.05 || 1; // the first steps fall from far above
  const x = (step) => left + (width - left - 16) * step / Math.max(1, furthest);
  const y = (loss) => Math.max(6, low - (low - 12) * loss / top);
  for (const part of [0, 0.5, 1]) {
    picture.append(drawing("line", { x1: left, x2: width - 16, y1: y(part * top), y2: y(part * top), stroke: "var(--rule)" }),
      drawing("text", { x: left - 6, y: y(part * top) + 4, "text-anchor": "end" }, part ? (part * top).toPrecision(2) : "0"));
  }
  for (const [job, points] of lines) {
    const line = drawing("polyline", { class: "loss", fill: "none", stroke: colourOf(names.indexOf(job)), "stroke-width": 1.8,
      points: points.map(([step, loss]) => `${x(step).toFixed(1)},${y(loss).toFixed(1)}`).join(" ") });
    picture.append(titled(line, job));
  }
  picture.append(drawing("text", { x: width - 16, y: height - 6, "text-anchor": "end" }, `step ${furthest.toLocaleString("en")}`));
}
