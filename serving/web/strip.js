// Which experts painted each step of an image, and with what weight: a column for each step.
import { html, svg } from "./element.js";

const NUM_COLOURS = 8;
const looks = (expert) => `expert-${expert % NUM_COLOURS}`;
const percent = (weight) => `${Math.round(100 * weight)} %`;

const LEAST = 0.005; // what would be told as 0 %

const partsOf = (weights, least) => weights.map((weight, expert) => ({ expert, weight })).filter(({ weight }) => weight > least);

const words = (parts) => parts.map(({ expert, weight }) => `expert ${expert} ${percent(weight)}`).join(", ");

function column(step, weights) {
  const parts = partsOf(weights, 0), made = svg("g", {}, svg("title", {}, `step ${step + 1}: ${words(partsOf(weights, LEAST))}`));
  let y = 0;
  for (const { expert, weight } of parts) {
    made.append(svg("rect", { class: looks(expert), x: step, y, width: 1, height: weight }));
    y += weight;
  }
  return made;
}

export function makeStrip(steps) {
  const picture = svg("svg", { class: "strip", role: "img", viewBox: `0 0 ${steps} 1`, preserveAspectRatio: "none",
    "aria-label": "no step is done" });
  const legend = html("p", { class: "legend", "aria-hidden": "true" }); // the picture's label says the same
  let shown = 0;

  function show(weights) {
    if (weights.length === shown) return;
    picture.append(...weights.slice(shown).map((each, place) => column(shown + place, each)));
    shown = weights.length;
    const share = weights[0].map((_, expert) => weights.reduce((sum, each) => sum + each[expert], 0) / shown);
    const parts = partsOf(share, LEAST).sort((a, b) => b.weight - a.weight);
    picture.setAttribute("aria-label", `painted in ${shown} of ${steps} steps by ${words(parts)}`);
    legend.replaceChildren(...parts.map(({ expert, weight }) =>
      html("span", {}, html("i", { class: looks(expert) }), `expert ${expert} `, html("b", {}, percent(weight)))));
  }

  return { picture, legend, show };
}
