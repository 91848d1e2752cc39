// Makers of elements.
export const byId = (id) => document.getElementById(id);

function made(element, attributes, inside) {
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...inside);
  return element;
}

export const html = (name, attributes = {}, ...inside) => made(document.createElement(name), attributes, inside);

export const svg = (name, attributes = {}, ...inside) =>
  made(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, inside);

export const count = (number, one, many = `${one}s`) => `${number} ${number === 1 ? one : many}`;
