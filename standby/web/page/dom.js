// Small things that all views use. Text gets into the page as text only, never
// as HTML: names of files may hold anything.

export const $ = (id) => document.getElementById(id);

// el makes an element: el('td', {class: 'num'}, 'text', child, ...).
export function el(tag, attrs = {}, ...children) {
  const e = document.createElement(tag);
  setAttrs(e, attrs);
  e.append(...children.filter((c) => c !== null && c !== undefined));
  return e;
}

export function svg(tag, attrs = {}, ...children) {
  const e = document.createElementNS('http://www.w3.org/2000/svg', tag);
  setAttrs(e, attrs);
  e.append(...children);
  return e;
}

function setAttrs(e, attrs) {
  for (const [k, v] of Object.entries(attrs)) {
    if (k.startsWith('on')) e.addEventListener(k.slice(2), v);
    else if (v === true) e.setAttribute(k, '');
    else if (v !== false && v !== null && v !== undefined) e.setAttribute(k, v);
  }
}

// text sets an element's text if it differs, so that selections and screen
// readers are left in peace.
export function text(e, value) {
  if (e.textContent !== value) e.textContent = value;
}

// pairs fills a <dl> with [name, value] rows and keeps what did not change.
export function pairs(dl, rows) {
  rows = rows.filter(([, v]) => v !== undefined && v !== null && v !== '');
  const names = rows.map((r) => r[0]).join('\n');
  if (dl.dataset.names !== names) {
    dl.dataset.names = names;
    dl.replaceChildren(...rows.flatMap(([k]) => [el('dt', {}, k), el('dd')]));
  }
  const cells = dl.querySelectorAll('dd');
  rows.forEach(([, v], i) => {
    if (v instanceof Node) cells[i].replaceChildren(v);
    else text(cells[i], String(v));
  });
}

const group = new Intl.NumberFormat();
export const num = (n) => group.format(n);
export const count = (n, one, more) => num(n) + ' ' + (n === 1 ? one : more);

// round shows a number with as many digits as are worth reading.
export function round(n) {
  if (n === 0 || Math.abs(n) >= 100) return group.format(Math.round(n));
  return group.format(Number(n.toPrecision(2)));
}

export function bytes(n) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'];
  let i = 0;
  while (n >= 1024 && i < units.length - 1) { n /= 1024; i++; }
  return (i === 0 ? num(n) : n.toFixed(n < 10 ? 1 : 0)) + ' ' + units[i];
}

// span shows a time in seconds in the unit that matters.
export function span(s) {
  if (s < 0) s = 0;
  if (s < 0.9995) return Math.round(s * 1000) + ' ms';
  if (s < 10) return s.toFixed(1) + ' s';
  if (s < 90) return Math.round(s) + ' s';
  if (s < 5400) return Math.round(s / 60) + ' min';
  if (s < 172800) return (s / 3600).toFixed(1) + ' h';
  return (s / 86400).toFixed(1) + ' days';
}

const two = (n) => String(n).padStart(2, '0');

// clock and date show a local time in the one order that nobody mistakes.
export function clock(ms) {
  const d = new Date(ms);
  return [d.getHours(), d.getMinutes(), d.getSeconds()].map(two).join(':');
}

export function date(ms) {
  const d = new Date(ms);
  return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ${clock(ms)}`;
}

// What looks like nothing, or turns the direction of a line, is shown by number.
const unseen = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Cn}\ufffd]|^\s|\s$|[^\S ]/gu;

// shown returns a name for people: odd characters stand out with their number.
// exact is false for names that are not UTF-8; the server wrote \xNN for bytes.
export function shown(name, exact = true) {
  const out = document.createDocumentFragment();
  const pattern = exact ? unseen : new RegExp('\\\\x[0-9a-f]{2}|' + unseen.source, 'gu');
  let at = 0;
  for (const m of name.matchAll(pattern)) {
    out.append(name.slice(at, m.index));
    const c = m[0].length === 4 && m[0].startsWith('\\x') ? m[0] : '\\u{' + m[0].codePointAt(0).toString(16) + '}';
    out.append(el('span', {class: 'odd', title: m[0].startsWith('\\x') ? 'a byte that is not UTF-8' : 'a character that cannot be seen'}, c));
    at = m.index + m[0].length;
  }
  out.append(name.slice(at));
  return out;
}

// announce tells those who do not look.
export function announce(message) { text($('announce'), message); }
