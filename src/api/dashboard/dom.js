/** The little of a view library that this page needs: make an element, keep a list in step with data, write only what changed. */

export const $ = (id) => document.getElementById(id);

export function h(tag, className = '', ...children) {
  const element = document.createElement(tag);
  if (className !== '') element.className = className;
  element.append(...children);
  return element;
}

export function svg(tag, className = '') {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
  if (className !== '') element.setAttribute('class', className);
  return element;
}

export function text(element, value) {
  const written = String(value);
  if (element.textContent !== written) element.textContent = written;
}

export function className(element, value) {
  if (element.getAttribute('class') !== value) element.setAttribute('class', value);
}

/**
 * Children of `parent` follow `items`: made once per key, moved, updated, removed. Elements stay, so animations and selections do too.
 * @param {(item: any) => Element} create
 * @param {(element: any, item: any) => void} update
 */
export function keyed(parent, items, keyOf, create, update) {
  parent.keyed ??= new Map();
  const before = parent.keyed;
  const after = new Map();
  let previous = null;
  for (const item of items) {
    const key = keyOf(item);
    const element = before.get(key) ?? create(item);
    after.set(key, element);
    const place = previous === null ? parent.firstElementChild : previous.nextElementSibling;
    if (place !== element) parent.insertBefore(element, place);
    update(element, item);
    previous = element;
  }
  for (const [key, element] of before) if (!after.has(key)) element.remove();
  parent.keyed = after;
}

/** Class that gives an element its node's colour. */
export function nodeClass(index) {
  return `node-${index % 8}`;
}
