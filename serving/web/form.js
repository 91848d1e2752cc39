// The form: made for a model, read as an order, filled from a recipe.
import { html } from "./element.js";
import { sizeOf } from "./size.js";

const MOST_BUTTONS = 24; // more classes than that are a list
const NICE_GUIDANCE = 10; // the slider's end; the number may go on to the limit
const PREVIEWS = 10; // of each image, at most
const MOST_TOP = 8;
const OFFERED = { // of the families of strategies that take a number, those that are worth a try
  "top-N": (numExperts) => Array.from({ length: Math.min(numExperts, MOST_TOP) }, (_, place) => `top-${place + 1}`),
  "threshold-P": () => ["threshold-0.1", "threshold-0.3"],
  "nucleus-P": () => ["nucleus-0.5", "nucleus-0.9"],
};

function fill(select, names, chosen) {
  select.replaceChildren(...names.map((name) => html("option", { value: name }, name)));
  choose(select, chosen);
}

function choose(select, name) {
  // A recipe may hold what is on no list, such as nucleus-0.95.
  if (![...select.options].some((option) => option.value === name)) select.append(html("option", { value: name }, name));
  select.value = name;
}

function classesOf(names) {
  if (names.length > MOST_BUTTONS) {
    const options = names.map((value) => html("option", { value }, value));
    return [html("select", { name: "class", "aria-label": "Class" }, html("option", { value: "" }, "every class in turn"), ...options)];
  }
  return names.map((value) => html("label", { class: "choice" },
    html("input", { type: "checkbox", name: "class", value }), html("span", {}, value)));
}

function pick(form, name) {
  for (const each of form.querySelectorAll("#classes input")) each.checked = each.value === name;
  for (const list of form.querySelectorAll("#classes select")) list.value = name;
}

function join(slider, number, limit, step) {
  Object.assign(number, { max: limit });
  Object.assign(slider, { min: number.min, max: number.id === "guidance" ? Math.min(limit, NICE_GUIDANCE) : limit, step });
  slider.addEventListener("input", () => { number.value = slider.value; });
  number.addEventListener("input", () => { slider.value = number.value; });
}

function put(form, name, value) {
  form.elements[name].value = value;
  const slider = form.querySelector(`[data-for="${name}"]`);
  if (slider) slider.value = value;
}

export function prepare(form, model) {
  const { defaults, limits } = model;
  form.querySelector("#class-field").hidden = model.condition !== "class";
  form.querySelector("#prompt-field").hidden = model.condition !== "text";
  form.querySelector("#guidance-field").hidden = model.condition === "none";
  form.querySelector("#size-field").hidden = model.sizes.length === 1;
  if (model.condition === "class") form.querySelector("#classes").replaceChildren(...classesOf(model.classes));
  for (const [name, limit, step] of [["n", limits.images, 1], ["steps", limits.steps, 1], ["guidance", limits.guidance, 0.1]]) {
    join(form.querySelector(`[data-for="${name}"]`), form.elements[name], limit, step);
  }
  form.elements.seed.max = Number.MAX_SAFE_INTEGER;
  const strategies = model.strategies.flatMap((name) => OFFERED[name]?.(model.num_experts) ?? [name]);
  fill(form.elements.strategy, strategies, defaults.strategy);
  fill(form.elements.solver, model.solvers, defaults.solver);
  fill(form.elements.size, model.sizes, model.sizes[0]);
  put(form, "n", Math.min(4, limits.images));
  put(form, "steps", defaults.steps);
  put(form, "guidance", defaults.guidance);
}

export function orderOf(form, model) {
  const { n, size, steps, guidance, strategy, solver, seed, priority, prompt } = form.elements;
  const body = { n: Number(n.value), steps: Number(steps.value), strategy: strategy.value, solver: solver.value,
    priority: priority.value, partial_images: PREVIEWS };
  if (model.sizes.length > 1) body.size = size.value;
  if (seed.value) body.seed = Number(seed.value);
  if (model.condition !== "none") body.guidance = Number(guidance.value);
  if (model.condition === "text") body.prompt = prompt.value;
  if (model.condition === "class") body.class = new FormData(form).getAll("class").filter(Boolean);
  return body;
}

export function take(form, model, recipe) {
  put(form, "n", 1);
  for (const name of ["steps", "guidance", "seed"]) put(form, name, recipe[name]);
  for (const name of ["strategy", "solver"]) choose(form.elements[name], recipe[name]);
  choose(form.elements.size, sizeOf(recipe, model));
  pick(form, recipe.condition);
  if (model.condition === "text") form.elements.prompt.value = recipe.condition;
}
