// The dashboard: asks for the fleet every second and draws what it hears. No build step.
"use strict";

const EVERY_MS = 1000, WIDTH = 1000;
const COLOURS = ["#0b7a76", "#3d6fb0", "#b8871b", "#8a5aa8", "#5d8a3a", "#b0487a", "#3a93b5", "#946643"];
const BAD = new Set(["attempt-failed", "island-lost", "island-gone", "island-preempted", "trainer-stuck", "job-failed"]);
const ENDS = new Set([...BAD, "lease-released", "job-done", "job-failed"]);
const events = [], grids = new Map();
let jobNames = [];

const byId = (id) => document.getElementById(id);
const colourOf = (job) => COLOURS[Math.max(0, jobNames.indexOf(job)) % COLOURS.length];
const clock = (at) => new Date(at * 1000).toLocaleTimeString();

function element(name, text, attributes = {}) {
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

async function ask(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(`${path} answered ${answer.status}`);
  return answer.json();
}

function showJobs(fleet) {
  byId("jobs").replaceChildren(...fleet.jobs.map((job) => {
    const row = element("tr");
    const steps = element("td");
    const bar = element("progress", undefined, { max: job.steps, value: job.step, "aria-label": `steps of ${job.name}` });
    steps.append(`${job.step.toLocaleString()} / ${job.steps.toLocaleString()} `, bar);
    const lags = job.lags ? ` (${Math.round(100 * job.lags)}% of its peers)` : "";
    row.append(
      element("td", job.name), element("td", job.state), element("td", job.island || "–"), steps,
      element("td", job.loss === null ? "–" : job.loss.toPrecision(3)),
      element("td", job.samples_per_s ? Math.round(job.samples_per_s).toLocaleString() + lags : "–"),
      element("td", job.checkpoint ? job.checkpoint.step.toLocaleString() : "–"),
      element("td", job.epoch), element("td", job.reason, { class: "words" }));
    return row;
  }));
}

function spans(now) {
  // What each island worked on, from lease to its end.
  const open = new Map(), done = [], marks = [];
  for (const event of events) {
    if (event.kind === "lease-granted") open.set(event.island, { island: event.island, job: event.job, from: event.at });
    if (BAD.has(event.kind) && event.island) marks.push(event);
    const span = open.get(event.island);
    if (span && ENDS.has(event.kind)) { done.push({ ...span, to: event.at }); open.delete(event.island); }
  }
  for (const span of open.values()) done.push({ ...span, to: now });
  return { spans: done, marks };
}

function showTimeline(now) {
  const found = spans(now), picture = byId("timeline");
  const islands = [...new Set([...found.spans, ...found.marks].map((each) => each.island))];
  const left = 90, high = 22, height = Math.max(1, islands.length) * high + 24;
  picture.setAttribute("viewBox", `0 0 ${WIDTH} ${height}`);
  picture.replaceChildren();
  if (!islands.length) return;
  const begin = Math.min(...found.spans.map((span) => span.from), ...found.marks.map((mark) => mark.at));
  const across = (at) => left + (WIDTH - left - 16) * (at - begin) / Math.max(1, now - begin);
  islands.forEach((island, row) => picture.append(drawing("text", { x: 8, y: row * high + 20 }, island)));
  for (const span of found.spans) {
    const bar = drawing("rect", { class: "span", x: across(span.from), y: islands.indexOf(span.island) * high + 8,
      width: Math.max(2, across(span.to) - across(span.from)), height: high - 8, rx: 2, fill: colourOf(span.job) });
    bar.append(drawing("title", {}, `${span.job} on ${span.island}, ${clock(span.from)} to ${clock(span.to)}`));
    picture.append(bar);
  }
  for (const mark of found.marks) {
    const dot = drawing("circle", { class: "mark", cx: across(mark.at), cy: islands.indexOf(mark.island) * high + 15,
      r: 5, fill: "var(--signal)", stroke: "var(--card)", "stroke-width": 1.5 });
    dot.append(drawing("title", {}, `${clock(mark.at)} ${mark.kind}: ${mark.reason}`));
    picture.append(dot);
  }
  picture.append(drawing("text", { x: left, y: height - 6 }, clock(begin)),
    drawing("text", { x: WIDTH - 16, y: height - 6, "text-anchor": "end" }, clock(now)));
  byId("timeline-legend").replaceChildren(...jobNames.map((job) => {
    const entry = element("span"), patch = element("i");
    patch.style.background = colourOf(job);
    entry.append(patch, job);
    return entry;
  }));
  const hours = found.spans.reduce((sum, span) => sum + span.to - span.from, 0) / 3600;
  byId("hours").textContent = `${hours.toFixed(2)} island-hours of work so far; red dots are failures and losses.`;
}

function showLosses(losses) {
  const picture = byId("losses"), height = 260, left = 44, low = height - 24;
  picture.setAttribute("viewBox", `0 0 ${WIDTH} ${height}`);
  picture.replaceChildren();
  const lines = Object.entries(losses).filter(([, points]) => points.length > 1);
  const all = lines.flatMap(([, points]) => points);
  if (!all.length) { picture.append(drawing("text", { x: 12, y: 24 }, "nothing was heard yet")); return; }
  const furthest = Math.max(...all.map((point) => point[0]));
  const sorted = all.map((point) => point[1]).sort((a, b) => a - b);
  const top = sorted[Math.floor(0.98 * (sorted.length - 1))] * 1.05; // the first steps fall from far above
  const x = (step) => left + (WIDTH - left - 16) * step / furthest;
  const y = (loss) => Math.max(6, low - (low - 12) * loss / top);
  for (const part of [0, 0.5, 1]) {
    picture.append(drawing("line", { x1: left, x2: WIDTH - 16, y1: y(part * top), y2: y(part * top), stroke: "var(--rule)" }),
      drawing("text", { x: left - 6, y: y(part * top) + 4, "text-anchor": "end" }, (part * top).toPrecision(2)));
  }
  for (const [job, points] of lines) {
    const line = drawing("polyline", { class: "loss", fill: "none", stroke: colourOf(job), "stroke-width": 1.8,
      points: points.map(([step, loss]) => `${x(step).toFixed(1)},${y(loss).toFixed(1)}`).join(" ") });
    line.append(drawing("title", {}, job));
    picture.append(line);
  }
  picture.append(drawing("text", { x: WIDTH - 16, y: height - 6, "text-anchor": "end" }, `step ${furthest.toLocaleString()}`));
}

function showGrids(fleet) {
  for (const job of fleet.jobs) {
    const key = job.checkpoint && job.checkpoint.key;
    if (!key || grids.get(job.name) === key) continue;
    grids.set(job.name, key);
    const image = new Image();
    image.alt = `Samples of ${job.name}`;
    image.onload = () => {
      const old = byId(`grid-${job.name}`), figure = element("figure", undefined, { id: `grid-${job.name}` });
      figure.append(image, element("figcaption", `${job.name}, step ${job.checkpoint.step.toLocaleString()}`));
      if (old) old.replaceWith(figure); else byId("grids").append(figure);
    };
    image.src = `/grids/${encodeURIComponent(job.name)}?${encodeURIComponent(key)}`;
  }
}

function showEvents(fresh) {
  for (const event of fresh) {
    const line = element("li", undefined, BAD.has(event.kind) ? { class: "bad" } : {});
    line.append(element("time", clock(event.at)), element("b", event.kind),
      ` ${[event.job, event.island].filter(Boolean).join(" on ")}: ${event.reason}`);
    byId("events").prepend(line);
  }
}

async function look() {
  try {
    const fleet = await ask("/fleet.json");
    jobNames = fleet.jobs.map((job) => job.name);
    const last = events.length ? events[events.length - 1].number : 0;
    const fresh = await ask(`/events.json?after=${last}`);
    events.push(...fresh);
    byId("run").textContent = fleet.run;
    document.title = `Atoll: ${fleet.run}`;
    const working = fleet.islands.filter((island) => island.state === "working").length;
    const done = fleet.jobs.filter((job) => job.state === "done").length;
    byId("state").className = "";
    byId("state").textContent = `${done} of ${fleet.jobs.length} jobs done, ${working} islands at work` +
      (fleet.draining ? "; the fleet drains" : "");
    showJobs(fleet);
    showTimeline(fleet.now);
    showLosses(await ask("/losses.json"));
    showGrids(fleet);
    showEvents(fresh);
  } catch (error) {
    byId("state").className = "lost";
    byId("state").textContent = "the orchestrator does not answer; this is what it told last";
  }
  setTimeout(look, EVERY_MS);
}

look();
